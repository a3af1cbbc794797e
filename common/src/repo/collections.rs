//! Which collections a repo has, without counting its records: a commit's own blocks show whether it writes the first record
//! of a collection or deletes the last one.

use std::collections::{BTreeMap, HashSet};

use atproto::data::Cid;
use atproto::mst::{self, AppliedOp, BlockSource, Key};

/// A collection that a commit begins or ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CollectionChange {
    pub(super) collection: String,
    /// True if the repo has records in it from now on, false if it has none any more.
    pub(super) gained: bool,
}

/// The collections that `ops` begin or end, where `root` is the tree after them and `nodes` has the covering proof.
///
/// # Errors
/// As [`mst::neighbours`].
pub(super) fn changes(
    root: &Cid,
    ops: &[AppliedOp],
    nodes: &impl BlockSource,
) -> Result<Vec<CollectionChange>, mst::Error> {
    let mut by_collection = BTreeMap::<&str, Vec<&AppliedOp>>::new();
    for op in ops {
        by_collection.entry(op.key.collection()).or_default().push(op);
    }
    let mut changes = Vec::new();
    for (collection, ops) in by_collection {
        let gained = match (ops.iter().all(|op| op.prev.is_none()), ops.iter().all(|op| op.cid.is_none())) {
            (true, false) => true,
            (false, true) => false,
            // It had a record before, and has one now.
            _ => continue,
        };
        let own: HashSet<&Key> = if gained { ops.iter().map(|op| &op.key).collect() } else { HashSet::new() };
        if !has_others(root, &ops, &own, nodes)? {
            changes.push(CollectionChange { collection: collection.to_owned(), gained });
        }
    }
    Ok(changes)
}

/// Whether the tree holds keys in the collection of `ops` other than `own`. The keys of a collection stand side by side,
/// so if there is one, the nearest to it of the keys in `ops` has it, or another, for a neighbour.
fn has_others(
    root: &Cid,
    ops: &[&AppliedOp],
    own: &HashSet<&Key>,
    nodes: &impl BlockSource,
) -> Result<bool, mst::Error> {
    for op in ops {
        let beside = mst::neighbours(root, &op.key, nodes)?;
        let mut beside = beside.before.iter().chain(&beside.after);
        if beside.any(|key| key.collection() == op.key.collection() && !own.contains(key)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::sync::Arc;

    use atproto::mst::{Node, Operation};
    use proptest::prelude::*;

    use super::*;

    fn key(number: usize) -> Key {
        // Names that sort in another way once a slash follows them.
        let collections = ["com.example.foo", "com.example.foo.bar", "com.example-x.foo", "com.example.fooBar"];
        format!("{}/k{}", collections[number % collections.len()], number / collections.len()).parse().unwrap()
    }

    fn collections(keys: &BTreeSet<usize>) -> BTreeSet<String> {
        keys.iter().map(|number| key(*number).collection().to_owned()).collect()
    }

    proptest! {
        #[test]
        fn what_begins_and_ends_is_seen_in_the_proof(
            before in prop::collection::btree_set(0..60_usize, 0..20),
            toggled in prop::collection::btree_set(0..60_usize, 0..12),
            updated in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let cid = Cid::raw(b"");
            let mut store = HashMap::<Cid, Arc<Node>>::new();
            let keys: BTreeSet<Key> = before.iter().map(|number| key(*number)).collect();
            let entries = keys.iter().map(|key| (key.clone(), cid));
            let root = mst::build(entries, |node| drop(store.insert(node.cid, node.node))).unwrap();
            let toggle = |number: &usize| {
                let key = key(*number);
                if before.contains(number) { Operation::Delete { key } } else { Operation::Create { key, cid } }
            };
            let mut ops: Vec<_> = toggled.iter().map(toggle).collect();
            let kept: Vec<_> = before.difference(&toggled).collect();
            if !kept.is_empty() {
                let update = |index: &prop::sample::Index| Operation::Update { key: key(*kept[index.index(kept.len())]), cid };
                ops.extend(updated.iter().map(update));
            }
            let applied = mst::apply(&root, &ops, &store).unwrap();
            let proof: HashMap<Cid, Arc<Node>> =
                applied.proof.iter().map(|(cid, block)| (*cid, Arc::new(Node::decode(block).unwrap()))).collect();

            let after: BTreeSet<usize> = before.symmetric_difference(&toggled).copied().collect();
            let (before, after) = (collections(&before), collections(&after));
            let gained = after.difference(&before).map(|name| (name.clone(), true));
            let expected: BTreeSet<_> = gained.chain(before.difference(&after).map(|name| (name.clone(), false))).collect();
            let found = changes(&applied.root, &applied.ops, &proof).unwrap();
            let found: BTreeSet<_> = found.into_iter().map(|change| (change.collection, change.gained)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
