//! Events that are written, numbered, read back and verified, and ones that are damaged.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::car;
use crate::commit::{Commit, UnsignedCommit};
use crate::crypto::SigningKey;
use crate::data::{Cid, Ipld, cbor};
use crate::mst::{self, AppliedOp, NewNode, Node, Operation};
use crate::syntax::{Datetime, Handle, Tid};
use crate::wire::WireError;

fn did() -> Did {
    "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap()
}

fn time() -> Datetime {
    "2026-10-03T12:30:00.123Z".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32]).unwrap()
}

fn rev(number: u64) -> Tid {
    Tid::from_micros(1_700_000_000_000_000 + number, 0)
}

fn sign(data: Cid, number: u64) -> Commit {
    UnsignedCommit { did: did(), rev: rev(number), data }.sign(&key())
}

fn empty_tree() -> NewNode {
    NewNode::new(Node::empty())
}

/// The event of a commit that creates `count` records in an empty repo.
fn creation(count: u32) -> CommitEvent {
    let empty = empty_tree();
    let records: Vec<_> = (0..count).map(record).collect();
    let create = |(number, (cid, _)): (usize, &(Cid, Bytes))| Operation::Create {
        key: format!("com.example.post/3k{number}").parse().unwrap(),
        cid: *cid,
    };
    let ops: Vec<_> = records.iter().enumerate().map(create).collect();
    let applied = mst::apply(&empty.cid, &ops, &HashMap::from([(empty.cid, empty.node)])).unwrap();
    let parts = CommitParts {
        commit: &sign(applied.root, 1),
        since: Some(rev(0)),
        prev_data: Some(empty.cid),
        ops: &applied.ops,
        proof: &applied.proof,
        records: &records,
        time: time(),
    };
    CommitEvent::new(parts, MAX_BLOCKS_LEN).unwrap()
}

/// Every third record is like the first, as reposts of one post may be.
fn record(number: u32) -> (Cid, Bytes) {
    let text = Ipld::String(format!("record {}", if number.is_multiple_of(3) { 0 } else { number }));
    let block = cbor::encode(&Ipld::Map([("text".to_owned(), text)].into())).unwrap();
    (Cid::dag_cbor(&block), block.into())
}

fn events() -> Vec<Event> {
    let update = AppliedOp { key: "a.b/c".parse().unwrap(), cid: Some(Cid::raw(b"1")), prev: Some(Cid::raw(b"2")) };
    let delete = AppliedOp { cid: None, ..update.clone() };
    let first = CommitEvent { since: None, prev_data: None, ops: vec![update, delete], ..creation(0) };
    let account = |status| Event::Account(AccountEvent { did: did(), status, time: time() });
    vec![
        Event::Commit(creation(5)),
        Event::Commit(first),
        Event::Sync(SyncEvent::new(&sign(empty_tree().cid, 1), time())),
        Event::Identity(IdentityEvent { did: did(), handle: None, time: time() }),
        Event::Identity(IdentityEvent { did: did(), handle: Some(Handle::INVALID.parse().unwrap()), time: time() }),
        account(AccountStatus::Active),
        account(AccountStatus::Takendown),
        account(AccountStatus::Suspended),
        account(AccountStatus::Deleted),
        account(AccountStatus::Deactivated),
    ]
}

fn field<'a>(value: &'a Ipld, name: &str) -> Option<&'a Ipld> {
    match value {
        Ipld::Map(fields) => fields.get(name),
        _ => None,
    }
}

#[test]
fn events_are_numbered_and_read_back() {
    for event in events() {
        for seq in [0, 1, 23, 24, 65_536, i64::MAX] {
            let frame = frame(event.kind(), &event.encode(), seq).unwrap();
            assert_eq!(Frame::decode(&frame), Ok(Frame::Event { seq, event: event.clone() }));
        }
    }
}

#[test]
fn frames_are_canonical_and_have_the_fields_of_the_lexicon() {
    for event in events() {
        let body = event.encode();
        let frame = frame(event.kind(), &body, 7).unwrap();
        let header_len = 1 + 2 + 1 + event.kind().name().len() + 3 + 1;
        let (header, numbered) = frame.split_at(header_len);
        let header = cbor::decode(header).unwrap();
        assert_eq!(field(&header, "t"), Some(&Ipld::String(event.kind().name().to_owned())));
        assert_eq!(field(&header, "op"), Some(&Ipld::Integer(1)));

        // The strict decoder takes only canonical order, so that `seq` stands at its place.
        let Ipld::Map(mut fields) = cbor::decode(numbered).unwrap() else { panic!("a map") };
        assert_eq!(fields.remove("seq"), Some(Ipld::Integer(7)));
        assert_eq!(cbor::encode(&Ipld::Map(fields)).unwrap(), body);
    }
    let body = cbor::decode(&Event::Commit(creation(1)).encode()).unwrap();
    for name in ["rebase", "tooBig"] {
        assert_eq!(field(&body, name), Some(&Ipld::Bool(false)));
    }
    assert_eq!(field(&body, "blobs"), Some(&Ipld::List(Vec::new())));
    let Some(Ipld::List(ops)) = field(&body, "ops") else { panic!("a list") };
    assert_eq!(field(&ops[0], "action"), Some(&Ipld::String("create".to_owned())));
    assert_eq!(field(&ops[0], "prev"), None);
    let takedown = cbor::decode(&events()[6].encode()).unwrap();
    assert_eq!(field(&takedown, "active"), Some(&Ipld::Bool(false)));
    assert_eq!(field(&takedown, "status"), Some(&Ipld::String("takendown".to_owned())));
}

#[test]
fn messages_without_number_are_read_back() {
    for message in [None, Some("Requested cursor exceeded limit. Possibly missing events")] {
        let (name, text) = ("OutdatedCursor".to_owned(), message.map(str::to_owned));
        let info = Frame::decode(&info_frame(&name, message));
        assert_eq!(info, Ok(Frame::Info { name, message: text.clone() }));
        let error = Frame::decode(&error_frame("FutureCursor", message));
        assert_eq!(error, Ok(Frame::Error { error: "FutureCursor".to_owned(), message: text }));
    }
    assert_eq!(error_frame("X", None), &b"\xa1\x62op\x20\xa1\x65error\x61X"[..]);
}

#[test]
fn bodies_are_numbered_once() {
    let event = Event::Commit(creation(2));
    let numbered = frame(event.kind(), &event.encode(), 1).unwrap();
    let header_len = frame(event.kind(), &[0xa0], 1).unwrap().len() - b"\xa1\x63seq\x01".len();
    assert_eq!(frame(event.kind(), &numbered[header_len..], 2), Err(FrameError::HasSeq));
    assert_eq!(frame(Kind::Sync, b"", 1), Err(WireError::Truncated.into()));
    assert_eq!(frame(Kind::Sync, b"\x80", 1), Err(WireError::Expected("map").into()));
}

#[test]
fn commits_verify_until_something_is_changed() {
    let event = creation(40);
    let public = key().public_key();
    let commit = event.verify(Some(&public)).unwrap();
    assert_eq!((&commit.did, commit.rev), (&event.repo, event.rev));
    let (_, blocks) = car::read(&event.blocks).unwrap();
    assert_eq!(blocks[0].0, event.commit, "the commit comes first");

    let other = SigningKey::from_bytes(&[8; 32]).unwrap().public_key();
    let changed = |change: &dyn Fn(&mut CommitEvent)| {
        let mut event = event.clone();
        change(&mut event);
        event.verify(None).unwrap_err()
    };
    assert!(matches!(event.verify(Some(&other)), Err(VerifyError::Signature(_))));
    assert_eq!(changed(&|event| event.rev = rev(2)), VerifyError::Field("rev"));
    assert_eq!(changed(&|event| event.repo = "did:web:x.test".parse().unwrap()), VerifyError::Field("did"));
    assert_eq!(changed(&|event| event.since = Some(event.rev)), VerifyError::Rev);
    assert_eq!(changed(&|event| event.commit = Cid::raw(b"")), VerifyError::NoCommit);
    assert!(matches!(changed(&|event| event.prev_data = Some(event.commit)), VerifyError::PrevData(_)));
    assert!(matches!(changed(&|event| _ = event.ops.pop()), VerifyError::PrevData(_)));
    assert!(matches!(changed(&|event| event.ops[0].prev = Some(event.commit)), VerifyError::PrevData(_)));
    assert!(matches!(
        changed(&|event| event.ops[0].cid = event.ops[1].cid),
        VerifyError::Tree(mst::Error::Mismatch(_))
    ));
    assert!(matches!(changed(&|event| event.ops.push(event.ops[0].clone())), VerifyError::Repeated(_)));
    assert!(matches!(changed(&|event| event.blocks.truncate(event.blocks.len() - 1)), VerifyError::Archive(_)));

    let without = |index: usize| {
        let kept = blocks.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, (cid, block))| (cid, &block[..]));
        let blocks = car::archive(&event.commit, kept);
        CommitEvent { blocks, ..event.clone() }.verify(None).unwrap_err()
    };
    assert_eq!(without(0), VerifyError::NoCommit);
    assert!(matches!(without(1), VerifyError::Tree(mst::Error::Missing(_))));
    assert!(matches!(without(blocks.len() - 1), VerifyError::NoRecord(_)));
}

#[test]
fn the_first_commit_of_a_repo_verifies() {
    let empty = empty_tree();
    let commit = sign(empty.cid, 0);
    let parts = CommitParts {
        commit: &commit,
        since: None,
        prev_data: None,
        ops: &[],
        proof: &[(empty.cid, empty.bytes)],
        records: &[],
        time: time(),
    };
    let event = CommitEvent::new(parts, MAX_BLOCKS_LEN).unwrap();
    assert_eq!(event.verify(Some(&key().public_key())), Ok(commit.clone()));
    assert_eq!(SyncEvent::new(&commit, time()).verify(Some(&key().public_key())), Ok(commit));
}

#[test]
fn an_event_has_a_size() {
    let (commit, proof) = (sign(Cid::raw(b""), 1), [(Cid::raw(b""), Bytes::from(vec![0; 1000]))]);
    let op = AppliedOp { key: "a.b/c".parse().unwrap(), cid: None, prev: Some(Cid::raw(b"")) };
    let make = |ops: usize, max_bytes| {
        let ops = vec![op.clone(); ops];
        let (since, prev_data) = (None, None);
        let parts =
            CommitParts { commit: &commit, since, prev_data, ops: &ops, proof: &proof, records: &proof, time: time() };
        CommitEvent::new(parts, max_bytes)
    };
    let bytes = make(1, MAX_BLOCKS_LEN).unwrap().blocks.len();
    assert!(make(1, bytes).is_ok());
    assert_eq!(make(1, bytes - 1), Err(TooBig { ops: 1, bytes }));
    assert!(make(MAX_OPS, bytes).is_ok());
    assert_eq!(make(MAX_OPS + 1, bytes), Err(TooBig { ops: MAX_OPS + 1, bytes }));
}

proptest! {
    #[test]
    fn damaged_frames_are_refused_or_say_what_they_say(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
        let event = which.get(&events()).clone();
        let mut bytes = frame(event.kind(), &event.encode(), 300).unwrap().to_vec();
        let at = at.index(bytes.len());
        prop_assert!(Frame::decode(&bytes[..at]).is_err());
        bytes[at] = byte;
        if let Ok(Frame::Event { seq, event }) = Frame::decode(&bytes) {
            if let Event::Commit(event) = &event {
                _ = event.verify(None);
            }
            // A handle is read into lower case; all else comes back as it was.
            let again = frame(event.kind(), &event.encode(), seq).unwrap();
            prop_assert!(again.eq_ignore_ascii_case(&bytes));
        }
    }

    #[test]
    fn no_bytes_break_the_decoders(bytes in vec(any::<u8>(), 0..300)) {
        _ = Frame::decode(&bytes);
        _ = frame(Kind::Commit, &bytes, 1);
        _ = Commit::decode(&bytes);
        let mut framed = frame(Kind::Commit, &[0xa0], 1).unwrap().to_vec();
        framed.extend(bytes);
        _ = Frame::decode(&framed);
    }

    #[test]
    fn no_blocks_break_verification(blocks in vec(vec(any::<u8>(), 0..60), 0..6)) {
        let event = creation(3);
        let blocks: Vec<_> = blocks.into_iter().map(|block| (Cid::dag_cbor(&block), block)).collect();
        let blocks = car::archive(&event.commit, blocks.iter().map(|(cid, block)| (cid, &block[..])));
        let event = CommitEvent { blocks, ..event };
        prop_assert!(event.verify(None).is_err());
    }
}
