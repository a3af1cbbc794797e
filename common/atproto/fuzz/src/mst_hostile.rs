//! No forged tree makes the operations panic or run for ever, and only a proper one is walked to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use atproto::data::{Cid, Codec, Ipld, cbor};
use atproto::mst::{self, AppliedOp, BlockSource, Error, Key, Node, Operation, Step, Walker};

use super::draw::Draw;
use super::tree;

/// Nodes that may link to any node, hashes notwithstanding, so that there can be cycles.
struct Forged(Vec<Option<Arc<Node>>>);

impl BlockSource for Forged {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        self.0.get(usize::from(cid.as_bytes()[35])).cloned().flatten()
    }
}

pub fn run(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let keys: Vec<_> = (0..draw.byte() % 16).map(|_| tree::draw_key(&mut draw)).collect();
    let mut nodes = Vec::new();
    while !draw.is_empty() && nodes.len() < 200 {
        nodes.push(draw_node(&mut draw));
    }
    let source = Forged(nodes);
    let creates: Vec<_> = keys.iter().map(|key| Operation::Create { key: key.clone(), cid: cid(255) }).collect();
    let deletes: Vec<_> = keys.iter().map(|key| Operation::Delete { key: key.clone() }).collect();
    let undo_create = |key: &Key| AppliedOp { key: key.clone(), cid: Some(cid(255)), prev: None };
    let undo_delete = |key: &Key| AppliedOp { key: key.clone(), cid: None, prev: Some(cid(255)) };
    let root = cid(0);
    let _ = (mst::apply(&root, &creates, &source), mst::apply(&root, &deletes, &source));
    let _ = mst::invert(&root, &keys.iter().map(undo_create).collect::<Vec<_>>(), &source);
    let _ = mst::invert(&root, &keys.iter().map(undo_delete).collect::<Vec<_>>(), &source);
    for key in &keys {
        let _ = (mst::get(&root, key, &source), mst::path_proof(&root, key, &source));
    }
    if let Ok((nodes, entries)) = walk(Walker::new(root), &source) {
        let mut built = 0;
        mst::build(entries, |_| built += 1).expect("a walk is in order");
        assert_eq!(nodes, built);
    }
    if let Some(key) = keys.first() {
        let _ = walk(Walker::starting_at(root, key.clone()), &source);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    // A node of layer 1 with two keys above leaves, a chain of nodes without keys, and a cycle.
    let proper = [3, 0, 4, 1, 2, 2, 0, 1, 1, 2, 3, 2, 9, 3, 0, 255, 1, 0, 255, 0, 255, 1, 20, 255, 0, 255, 1, 44, 255];
    let chain = [1, 0, 0, 6, 1, 1, 0, 1, 5, 1, 0, 4, 2, 0, 3, 3, 0, 2, 4, 0, 1, 5, 0];
    let cycle = [1, 0, 0, 2, 1, 1, 0, 1, 1, 0, 1, 0, 0];
    vec![proper.to_vec(), chain.to_vec(), cycle.to_vec()]
}

fn cid(node: u8) -> Cid {
    let mut digest = [0; 32];
    digest[31] = node;
    Cid::from_digest(Codec::DagCbor, digest)
}

/// A node of one layer with some of its keys; subtrees above 200 are none.
fn draw_node(draw: &mut Draw<'_>) -> Option<Arc<Node>> {
    let subtree = |node: u8| if node > 200 { Ipld::Null } else { Ipld::Link(cid(node).into()) };
    let map = |fields: [(&str, Ipld); 4]| Ipld::Map(fields.map(|(name, value)| (name.to_owned(), value)).into());
    let (keys, left, count) = (tree::layer(draw.byte()), draw.byte(), draw.byte() % 24);
    let chosen: BTreeMap<_, _> = (0..count).map(|_| (&keys[draw.below(keys.len())], draw.byte())).collect();
    let (mut previous, mut list) = ("", Vec::new());
    for (key, right) in chosen {
        let shared = mst::common_prefix(previous.as_bytes(), key.as_str().as_bytes());
        list.push(map([
            ("k", Ipld::Bytes(key.as_str().as_bytes()[shared..].to_vec())),
            ("p", Ipld::Integer(shared as i128)),
            ("t", subtree(right)),
            ("v", Ipld::Link(cid(255).into())),
        ]));
        previous = key.as_str();
    }
    let node = Ipld::Map([("e".to_owned(), Ipld::List(list)), ("l".to_owned(), subtree(left))].into());
    Node::decode(&cbor::encode(&node).expect("a value")).ok().map(Arc::new)
}

/// Nodes and entries of a walk.
fn walk(mut walker: Walker, source: &Forged) -> Result<(usize, Vec<(Key, Cid)>), Error> {
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
