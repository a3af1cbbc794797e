//! A change of a tree gives the tree that the new entries build, says exactly what differs, and can be undone from its
//! proof alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use atproto::data::Cid;
use atproto::mst::{self, BlockSource, Error, Node, Step, Walker};

use super::draw::Draw;
use super::tree::{self, Model, Store};

pub fn run(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let old = tree::draw_model(&mut draw);
    let mut store = Store::new();
    let old_root = tree::build(&old, &mut store);
    let mut new = old.clone();
    let ops = tree::draw_changes(&mut draw, &mut new);
    let applied = mst::apply(&old_root, &ops, &store).expect("operations that fit");

    let mut new_store = Store::new();
    let new_root = tree::build(&new, &mut new_store);
    assert_eq!(applied.root, new_root);
    let (before, after) = (walk(old_root, &store, &old), walk(new_root, &new_store, &new));
    assert_eq!(applied.added.iter().map(|node| node.cid).collect::<BTreeSet<_>>(), &after - &before);
    assert_eq!(applied.removed.iter().copied().collect::<BTreeSet<_>>(), &before - &after);
    assert_eq!(applied.added.len() + before.len(), applied.removed.len() + after.len());
    assert_eq!(tree::claims(&applied.ops), tree::differences(&old, &new));

    let proof = applied.proof.iter().map(|(cid, block)| (*cid, Arc::new(Node::decode(block).expect("a node"))));
    let proof: Store = proof.collect();
    let mut undo = applied.ops;
    assert_eq!(mst::invert(&new_root, &undo, &proof), Ok(old_root));
    undo.reverse();
    assert_eq!(mst::invert(&new_root, &undo, &proof), Ok(old_root));
    look_up(new_root, &new_store, &new, &mut draw);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let draws = |step: u8| (0..=255_u8).map(move |number| number.wrapping_mul(step) >> 3);
    let with_count =
        |count: u8, step| [count].into_iter().chain(draws(step)).chain([20]).chain(draws(step + 2)).collect();
    vec![vec![], vec![0, 5, 0, 3, 9, 200], with_count(10, 37), with_count(60, 11), with_count(255, 91)]
}

/// The nodes of a tree, which holds the entries of `model`.
fn walk(root: Cid, source: &impl BlockSource, model: &Model) -> BTreeSet<Cid> {
    let (mut nodes, mut entries) = (BTreeSet::new(), Model::new());
    let mut walker = Walker::new(root);
    while let Some(step) = walker.next(source).expect("a whole tree") {
        match step {
            Step::Node { cid, .. } => assert!(nodes.insert(cid), "each node once"),
            Step::Entry(entry) => assert!(entries.insert(entry.key, entry.value).is_none(), "each key once"),
        }
    }
    assert_eq!(entries, *model);
    nodes
}

/// Finds a key, and proves that it is there or not, with no more than the nodes asked for.
fn look_up(root: Cid, source: &Store, model: &Model, draw: &mut Draw<'_>) {
    let key = tree::draw_key(draw);
    let mut fetched = Store::new();
    let found = loop {
        match mst::get(&root, &key, &fetched) {
            Ok(found) => break found,
            Err(Error::Missing(cids)) => fetched.extend(cids.into_iter().map(|cid| (cid, Arc::clone(&source[&cid])))),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(found, model.get(&key).copied());
    let proof = mst::path_proof(&root, &key, source).expect("a whole tree");
    assert_eq!(proof.iter().map(|(cid, _)| *cid).collect::<BTreeSet<_>>(), fetched.into_keys().collect());
}
