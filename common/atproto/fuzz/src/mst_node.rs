//! A block that is read as a node is that node's only encoding, and the node is in order.

use atproto::data::{Cid, cbor};
use atproto::mst::Node;

use super::tree;

pub fn run(block: &[u8]) {
    let Ok(node) = Node::decode(block) else { return };
    assert_eq!(node.encode(), block);
    assert_eq!(node.subtrees().len(), node.entries().len() + 1);
    assert!(node.entries().iter().all(|entry| Some(entry.key.depth()) == node.layer()));
    assert!(node.entries().is_sorted_by(|left, right| left.key < right.key));
    assert!(block.len() > cbor::MAX_LEN || cbor::decode(block).is_ok());
}

pub fn seeds() -> Vec<Vec<u8>> {
    let value = Cid::raw(b"");
    let (mut store, mut blocks) = (tree::Store::new(), vec![Node::empty().encode()]);
    for count in [1, 2, 10, 40] {
        for layers in 1..4 {
            let model = (0..layers).flat_map(|layer| tree::layer(layer).iter().take(count));
            tree::build(&model.map(|key| (key.clone(), value)).collect(), &mut store);
        }
    }
    blocks.extend(store.values().map(|node| node.encode()));
    blocks.sort();
    blocks
}
