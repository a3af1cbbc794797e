//! Commit events that were tampered with: what verifies is a true account of the difference between two trees.

use std::collections::HashSet;

use atproto::car;
use atproto::commit::UnsignedCommit;
use atproto::crypto::SigningKey;
use atproto::data::Cid;
use atproto::event::{CommitEvent, CommitParts, Event, Frame, MAX_BLOCKS_LEN, frame};
use atproto::mst::{self, AppliedOp};
use atproto::syntax::Tid;

use super::draw::Draw;
use super::tree::{self, Model, Store};

pub fn run(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let old = tree::draw_model(&mut draw);
    let mut new = old.clone();
    let honest = draw_event(&mut draw, &old, &mut new);
    assert!(honest.verify(None).is_ok());
    let mut event = honest.clone();
    while !draw.is_empty() {
        tamper(&mut draw, &mut event);
    }
    let Ok(commit) = event.verify(None) else { return };
    // Both trees are those of the honest event, named by hashes, so the operations must be the honest ones.
    if event.prev_data == honest.prev_data && event.commit == honest.commit {
        assert_eq!(tree::claims(&event.ops), tree::differences(&old, &new));
    }
    assert_eq!((commit.rev, &commit.did), (event.rev, &event.repo));
    let framed = frame(event_kind(&event), &event.encode(), 1).expect("a body");
    match Frame::decode(&framed) {
        Ok(Frame::Event { event: Event::Commit(read), .. }) => assert_eq!(read, event),
        // Too many operations or bytes.
        other => assert!(other.is_err()),
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let draws = |count: u8, step: u8| {
        let draws = move || (0..255_u8).map(move |number| number.wrapping_mul(step) >> 2);
        [count].into_iter().chain(draws()).chain([9]).chain(draws()).collect()
    };
    vec![vec![], vec![0, 3, 0, 1, 0, 9, 0, 0, 2, 9, 200, 0, 1, 4, 9], draws(8, 37), draws(80, 11)]
}

fn event_kind(event: &CommitEvent) -> atproto::event::Kind {
    Event::Commit(event.clone()).kind()
}

fn draw_event(draw: &mut Draw<'_>, old: &Model, new: &mut Model) -> CommitEvent {
    let mut store = Store::new();
    let old_root = tree::build(old, &mut store);
    let ops = tree::draw_changes(draw, new);
    let applied = mst::apply(&old_root, &ops, &store).expect("operations that fit");
    let values = applied.ops.iter().filter_map(|op| op.cid).collect::<HashSet<_>>();
    let records: Vec<_> = (0..=255).filter(|number| values.contains(&tree::value(*number))).collect();
    let records: Vec<_> = records.into_iter().map(|number| (tree::value(number), vec![number].into())).collect();
    let key = SigningKey::from_bytes(&[7; 32]).expect("a key");
    let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().expect("a DID");
    let parts = CommitParts {
        commit: &UnsignedCommit { did, rev: Tid::from_micros(2, 1), data: applied.root }.sign(&key),
        since: Some(Tid::from_micros(1, 1)),
        prev_data: Some(old_root),
        ops: &applied.ops,
        proof: &applied.proof,
        records: &records,
        time: "2026-10-03T12:30:00.123Z".parse().expect("a time"),
    };
    CommitEvent::new(parts, MAX_BLOCKS_LEN).expect("few operations")
}

fn tamper(draw: &mut Draw<'_>, event: &mut CommitEvent) {
    let drawn = draw.byte();
    let (at, value) = (draw.below(event.ops.len()), tree::value(draw.byte()));
    match drawn % 12 {
        0 => event.prev_data = Some(value),
        1 => event.prev_data = None,
        2 => event.since = draw.bool().then(|| Tid::from_micros(draw.byte().into(), 0)),
        3 => event.rev = Tid::from_micros(draw.byte().into(), 0),
        4 => event.ops.push(AppliedOp { key: tree::draw_key(draw), cid: Some(value), prev: None }),
        5 => event.ops.push(AppliedOp { key: tree::draw_key(draw), cid: None, prev: Some(value) }),
        6 => event.ops.push(AppliedOp { key: tree::draw_key(draw), cid: Some(value), prev: Some(value) }),
        7 => event.ops.reverse(),
        _ if event.ops.is_empty() => tamper_blocks(draw, event),
        8 => _ = event.ops.swap_remove(at),
        9 => event.ops[at].prev = draw.bool().then_some(value),
        10 => event.ops[at].cid = draw.bool().then_some(value),
        _ => tamper_blocks(draw, event),
    }
}

/// Leaves out, repeats, moves or changes a block; a changed one gets the CID of what it is now, or keeps its place as the
/// root.
fn tamper_blocks(draw: &mut Draw<'_>, event: &mut CommitEvent) {
    let Ok((root, mut blocks)) = car::read(&event.blocks) else { return };
    let (at, to) = (draw.below(blocks.len()), draw.below(blocks.len()));
    match draw.byte() % 4 {
        _ if blocks.is_empty() => {}
        0 => _ = blocks.remove(at),
        1 => blocks.push(blocks[at].clone()),
        2 => blocks.swap(at, to),
        _ => {
            let mut block = blocks[at].1.to_vec();
            let byte = draw.pair();
            if let Some(byte) = block.get_mut(usize::from(byte)) {
                *byte ^= draw.byte();
            }
            blocks[at] = (Cid::dag_cbor(&block), block.into());
        }
    }
    let root = if draw.bool() { blocks.get(at).map_or(root, |(cid, _)| *cid) } else { root };
    event.blocks = car::archive(&root, blocks.iter().map(|(cid, block)| (cid, &block[..])));
}
