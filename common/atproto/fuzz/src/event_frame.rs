//! Frames and commits of strangers can be read and verified, and have one encoding; a number is put into a body where it
//! belongs.

use atproto::commit::{Commit, UnsignedCommit};
use atproto::crypto::SigningKey;
use atproto::data::{Cid, Ipld, cbor};
use atproto::event::{
    AccountEvent, AccountStatus, CommitEvent, CommitParts, Event, Frame, IdentityEvent, Kind, MAX_BLOCKS_LEN,
    SyncEvent, error_frame, frame, info_frame,
};
use atproto::mst::AppliedOp;
use atproto::syntax::{Did, Handle, Tid};

pub fn run(bytes: &[u8]) {
    put_number(bytes);
    read_commit(bytes);
    match Frame::decode(bytes) {
        Err(_) => {}
        Ok(Frame::Info { name, message }) => assert_eq!(info_frame(&name, message.as_deref()), bytes),
        Ok(Frame::Error { error, message }) => assert_eq!(error_frame(&error, message.as_deref()), bytes),
        Ok(Frame::Event { seq, event }) => {
            let again = frame(event.kind(), &event.encode(), seq).expect("a decoded event has a body");
            // A handle is read into lower case.
            assert!(again.eq_ignore_ascii_case(bytes));
            match event {
                Event::Commit(event) => _ = event.verify(None),
                Event::Sync(event) => _ = event.verify(None),
                Event::Identity(_) | Event::Account(_) => {}
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let key = SigningKey::from_bytes(&[7; 32]).expect("a key");
    let did: Did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().expect("a DID");
    let time: atproto::syntax::Datetime = "2026-10-03T12:30:00.123Z".parse().expect("a time");
    let cid = Cid::dag_cbor(b"");
    let commit = UnsignedCommit { did: did.clone(), rev: Tid::from_micros(2, 1), data: cid }.sign(&key);
    let op = |cid, prev| AppliedOp { key: "a.b/c".parse().expect("a key"), cid, prev };
    let parts = CommitParts {
        commit: &commit,
        since: Some(Tid::from_micros(1, 1)),
        prev_data: Some(cid),
        ops: &[op(Some(cid), None), op(Some(cid), Some(cid)), op(None, Some(cid))],
        proof: &[(cid, bytes_of(b""))],
        records: &[],
        time: time.clone(),
    };
    let account = |status| Event::Account(AccountEvent { did: did.clone(), status, time: time.clone() });
    let identity =
        |handle: Option<Handle>| Event::Identity(IdentityEvent { did: did.clone(), handle, time: time.clone() });
    let events = [
        Event::Commit(CommitEvent::new(parts, MAX_BLOCKS_LEN).expect("small")),
        Event::Sync(SyncEvent::new(&commit, time.clone())),
        identity(None),
        identity("alice.test".parse().ok()),
        account(AccountStatus::Active),
        account(AccountStatus::Takendown),
    ];
    let bodies = events.iter().map(Event::encode);
    let frames = events.iter().map(|event| frame(event.kind(), &event.encode(), 300).expect("a body").to_vec());
    let others = [info_frame("a", Some("b")), error_frame("a", None)];
    bodies.chain(frames).chain(others.iter().map(|frame| frame.to_vec())).chain(commits(&commit)).collect()
}

/// One commit of each version.
fn commits(version_3: &Commit) -> [Vec<u8>; 4] {
    let mut with_prev = version_3.clone();
    with_prev.prev = Some(with_prev.data);
    let version_3 = version_3.encode();
    let mut version_2 = version_3.clone();
    version_2[version_3.len() - 1] = 2;
    // Without the rev's name and text, and with one field less in the head.
    let at = version_3.windows(4).position(|name| name == b"\x63rev").expect("a rev");
    let mut without_rev = [&version_2[..at], &version_2[at + 4 + 14..]].concat();
    without_rev[0] -= 1;
    [version_3, with_prev.encode(), version_2, without_rev]
}

fn bytes_of(block: &'static [u8]) -> bytes::Bytes {
    bytes::Bytes::from_static(block)
}

/// A body that is a value of the data model gets its number as the general encoder would write it.
fn put_number(body: &[u8]) {
    let framed = frame(Kind::Account, body, 7);
    let Ok(Ipld::Map(mut fields)) = cbor::decode(body) else { return };
    if fields.contains_key("seq") {
        assert!(framed.is_err());
        return;
    }
    let framed = framed.expect("a body");
    let header =
        Ipld::Map([("t".to_owned(), Ipld::String("#account".to_owned())), ("op".to_owned(), Ipld::Integer(1))].into());
    fields.insert("seq".to_owned(), Ipld::Integer(7));
    if let (Ok(header), Ok(body)) = (cbor::encode(&header), cbor::encode(&Ipld::Map(fields))) {
        assert_eq!(framed, [header, body].concat());
    }
}

fn read_commit(block: &[u8]) {
    let Ok(commit) = Commit::decode(block) else { return };
    assert_eq!(commit.encode(), block);
    assert_eq!(commit.to_block().0, Cid::dag_cbor(block));
    let Ok(Ipld::Map(fields)) = cbor::decode(block) else { panic!("a commit is a map") };
    assert_eq!(fields.get("did"), Some(&Ipld::String(commit.did.to_string())));
    assert_eq!(fields.get("data"), Some(&Ipld::Link(commit.data.into())));
    assert!(fields.get("rev").is_none_or(|rev| *rev == Ipld::String(commit.rev.to_string())));
}
