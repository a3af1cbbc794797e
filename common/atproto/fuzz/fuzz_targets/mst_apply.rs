//! No forged tree makes the operations panic or run for ever, and only a proper one is walked to its end.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use atproto::data::{Cid, Ipld, cbor};
use atproto::mst::{self, AppliedOp, BlockSource, Error, Key, Node, Operation, Step, Walker};
use libfuzzer_sys::fuzz_target;

/// Keys in ascending order, for each depth.
static KEYS: LazyLock<Vec<Vec<Key>>> = LazyLock::new(|| {
    let mut by_depth = vec![Vec::new(); 7];
    for number in 0..40_000 {
        let key: Key = format!("com.example.record/{number:05}").parse().expect("a key");
        if let Some(keys) = by_depth.get_mut(usize::from(key.depth())) {
            keys.push(key);
        }
    }
    by_depth
});

/// Nodes that may link to any node, hashes notwithstanding, so that the fuzzer can make cycles.
struct Forged(Vec<Option<Arc<Node>>>);

impl BlockSource for Forged {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        self.0.get(usize::from(cid.as_bytes()[35])).cloned().flatten()
    }
}

fn link(node: u8) -> Ipld {
    let mut digest = [0; 32];
    digest[31] = node;
    Ipld::Link(Cid::from_digest(atproto::data::Codec::DagCbor, digest).into())
}

fn cid(node: u8) -> Cid {
    match link(node) {
        Ipld::Link(cid) => Cid::try_from(&cid).expect("a CID"),
        _ => unreachable!("a link"),
    }
}

/// A node of one layer with some of its keys; subtrees above 200 are none.
fn forge((layer, left, entries): (u8, u8, Vec<(u16, u8)>)) -> Option<Arc<Node>> {
    let keys = &KEYS[usize::from(layer) % KEYS.len()];
    let subtree = |node: u8| if node > 200 { Ipld::Null } else { link(node) };
    let map = |fields: [(&str, Ipld); 4]| Ipld::Map(fields.map(|(name, value)| (name.to_owned(), value)).into());
    let chosen: BTreeMap<_, _> =
        entries.into_iter().map(|(key, right)| (keys[usize::from(key) % keys.len()].as_str(), right)).collect();
    let mut previous = "";
    let mut list = Vec::new();
    for (key, right) in chosen {
        let shared = mst::common_prefix(previous.as_bytes(), key.as_bytes());
        list.push(map([
            ("k", Ipld::Bytes(key.as_bytes()[shared..].to_vec())),
            ("p", Ipld::Integer(shared as i128)),
            ("t", subtree(right)),
            ("v", link(255)),
        ]));
        previous = key;
    }
    let node = Ipld::Map([("e".to_owned(), Ipld::List(list)), ("l".to_owned(), subtree(left))].into());
    Node::decode(&cbor::encode(&node).expect("a value")).ok().map(Arc::new)
}

fn walk(source: &Forged) -> Result<(usize, Vec<(Key, Cid)>), Error> {
    let mut walker = Walker::new(cid(0));
    let (mut nodes, mut entries) = (0, Vec::new());
    while let Some(step) = walker.next(source)? {
        let _ = walker.lookahead(source, 3);
        match step {
            Step::Node { .. } => nodes += 1,
            Step::Entry(entry) => entries.push((entry.key, entry.value)),
        }
    }
    Ok((nodes, entries))
}

type Input = (Vec<(u8, u8, Vec<(u16, u8)>)>, Vec<(u8, u16)>);

fuzz_target!(|input: Input| {
    let (nodes, keys) = input;
    let source = Forged(nodes.into_iter().take(200).map(forge).collect());
    let pick = |(layer, key): (u8, u16)| {
        let keys = &KEYS[usize::from(layer) % KEYS.len()];
        keys[usize::from(key) % keys.len()].clone()
    };
    let keys: Vec<_> = keys.into_iter().take(20).map(pick).collect();
    let creates: Vec<_> = keys.iter().map(|key| Operation::Create { key: key.clone(), cid: cid(255) }).collect();
    let deletes: Vec<_> = keys.iter().map(|key| Operation::Delete { key: key.clone() }).collect();
    let undone: Vec<_> = keys.into_iter().map(|key| AppliedOp { key, cid: Some(cid(255)), prev: None }).collect();
    let _ = mst::apply(&cid(0), &creates, &source);
    let _ = mst::apply(&cid(0), &deletes, &source);
    let _ = mst::invert(&cid(0), &undone, &source);
    if let Ok((nodes, entries)) = walk(&source) {
        let mut built = 0;
        mst::build(entries, |_| built += 1).expect("a walk is in order");
        assert_eq!(nodes, built);
    }
});
