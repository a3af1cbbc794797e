//! `firehose/`: commits with the tree nodes that prove them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use atproto::data::Cid;
use atproto::mst::{Key, Node, Operation, apply, build, invert};
use serde::Deserialize;

use crate::vectors;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitProof {
    comment: String,
    leaf_value: Cid,
    keys: Vec<String>,
    adds: Vec<String>,
    dels: Vec<String>,
    root_before_commit: Cid,
    root_after_commit: Cid,
    blocks_in_proof: BTreeSet<Cid>,
}

#[test]
fn commits_are_proven_by_exactly_the_nodes_of_the_vectors() {
    for vector in vectors::<CommitProof>("firehose/commit-proof-fixtures.json") {
        let key = |path: &String| -> Key { path.parse().unwrap() };
        let mut store = HashMap::new();
        let entries: BTreeMap<_, _> = vector.keys.iter().map(|path| (key(path), vector.leaf_value)).collect();
        let before = build(entries, |node| _ = store.insert(node.cid, node.node)).unwrap();
        assert_eq!(before, vector.root_before_commit, "{}", vector.comment);

        let adds = vector.adds.iter().map(|path| Operation::Create { key: key(path), cid: vector.leaf_value });
        let dels = vector.dels.iter().map(|path| Operation::Delete { key: key(path) });
        let ops: Vec<_> = adds.chain(dels).collect();
        let applied = apply(&before, &ops, &store).unwrap();
        assert_eq!(applied.root, vector.root_after_commit, "{}", vector.comment);
        let proof: BTreeSet<_> = applied.proof.iter().map(|(cid, _)| *cid).collect();
        assert_eq!(proof, vector.blocks_in_proof, "{}", vector.comment);

        let proof = applied.proof.iter().map(|(cid, block)| (*cid, Arc::new(Node::decode(block).unwrap())));
        let proof: HashMap<_, _> = proof.collect();
        assert_eq!(invert(&applied.root, &applied.ops, &proof), Ok(before), "{}", vector.comment);
    }
}
