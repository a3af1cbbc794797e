//! `mst/`: depths of keys, shared prefixes, and a set of keys of known depths.

use atproto::data::Cid;
use atproto::mst::{Key, build, common_prefix, depth};
use serde::Deserialize;

use crate::{lines, vectors};

#[derive(Deserialize)]
struct KeyHeight {
    key: String,
    height: u8,
}

#[derive(Deserialize)]
struct CommonPrefix {
    left: String,
    right: String,
    len: usize,
}

#[test]
fn keys_have_their_depth() {
    for KeyHeight { key, height } in vectors("mst/key_heights.json") {
        assert_eq!(depth(key.as_bytes()), height, "{key}");
    }
}

#[test]
fn shared_prefixes_have_their_length() {
    for CommonPrefix { left, right, len } in vectors("mst/common_prefix.json") {
        assert_eq!(common_prefix(left.as_bytes(), right.as_bytes()), len, "{left:?} {right:?}");
    }
}

/// The second character of an example key is its depth.
#[test]
fn example_keys_form_a_tree_of_their_depths() {
    let keys = lines("mst/example_keys.txt");
    for key in &keys {
        assert_eq!(depth(key.as_bytes()).to_string(), key[1..2], "{key}");
    }
    let entries = keys.iter().map(|key| (key.parse::<Key>().unwrap(), Cid::dag_cbor(key.as_bytes())));
    let mut nodes = Vec::new();
    build(entries, |node| nodes.push(node.node)).unwrap();
    let held: usize = nodes.iter().map(|node| node.entries().len()).sum();
    assert_eq!(held, keys.len());
}
