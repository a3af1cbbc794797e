//! A block that is read as a node is that node's only encoding.
#![no_main]

use atproto::mst::Node;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|block: &[u8]| {
    if let Ok(node) = Node::decode(block) {
        assert_eq!(node.encode(), block);
    }
});
