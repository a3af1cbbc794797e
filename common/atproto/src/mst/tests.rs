//! Properties of the tree as a whole, over random trees and changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, LazyLock};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::data::Ipld;

type Store = HashMap<Cid, Arc<Node>>;
type Model = BTreeMap<Key, Cid>;

/// Keys of many depths: random ones are mostly of depth 0, and trees grow and shrink only by deep ones.
static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut by_depth = BTreeMap::<u8, Vec<Key>>::new();
    for number in 0..30_000 {
        let key: Key = format!("com.example.c{}/3k{number}", number % 7).parse().unwrap();
        let keys = by_depth.entry(key.depth()).or_default();
        if keys.len() < 40 {
            keys.push(key);
        }
    }
    by_depth.into_values().flatten().collect()
});

fn value(number: u8) -> Cid {
    Cid::dag_cbor(&[number])
}

fn any_key() -> impl Strategy<Value = Key> {
    select(KEYS.as_slice())
}

fn any_model(max: usize) -> impl Strategy<Value = Model> {
    btree_map(any_key(), any::<u8>().prop_map(value), 0..max)
}

fn build_into(store: &mut Store, model: &Model) -> Cid {
    let entries = model.iter().map(|(key, value)| (key.clone(), *value));
    build(entries, |node| _ = store.insert(node.cid, node.node)).unwrap()
}

fn build_store(model: &Model) -> (Cid, Store) {
    let mut store = Store::new();
    let root = build_into(&mut store, model);
    (root, store)
}

/// The nodes and the entries that a walk comes by.
type Walked = (Vec<Cid>, Vec<(Key, Cid)>);

fn walk(root: Cid, source: &impl BlockSource) -> Result<Walked, Error> {
    let mut walker = Walker::new(root);
    let (mut nodes, mut entries) = (Vec::new(), Vec::new());
    while let Some(step) = walker.next(source)? {
        match step {
            Step::Node { cid, .. } => nodes.push(cid),
            Step::Entry(entry) => entries.push((entry.key, entry.value)),
        }
    }
    Ok((nodes, entries))
}

fn nodes_of(root: Cid, source: &impl BlockSource) -> BTreeSet<Cid> {
    walk(root, source).unwrap().0.into_iter().collect()
}

/// The operation that puts `value` at `key` in `model`, which is changed; `None` if there is nothing to do.
fn operation(model: &mut Model, key: &Key, value: Option<Cid>) -> Option<Operation> {
    let key = key.clone();
    let (before, op) = match value {
        Some(cid) => (model.insert(key.clone(), cid), Operation::Update { key: key.clone(), cid }),
        None => (model.remove(&key), Operation::Delete { key: key.clone() }),
    };
    match (before, value) {
        (None, None) => None,
        (None, Some(cid)) => Some(Operation::Create { key, cid }),
        _ => Some(op),
    }
}

/// A model and changes to it, of which half go to keys it holds.
fn any_change() -> impl Strategy<Value = (Model, Vec<(Key, Option<Cid>)>)> {
    any_model(120).prop_flat_map(|model| {
        let held: Vec<Key> = model.keys().cloned().chain([KEYS[0].clone()]).collect();
        let key = prop_oneof![select(held), any_key()];
        let change = (key, proptest::option::of(any::<u8>().prop_map(value)));
        (Just(model), vec(change, 0..24))
    })
}

fn neighbours_in(model: &Model, key: &Key) -> Neighbours {
    let after = model.range((Bound::Excluded(key.clone()), Bound::Unbounded)).next();
    let before = model.range(..key.clone()).next_back();
    Neighbours { before: before.map(|(key, _)| key.clone()), after: after.map(|(key, _)| key.clone()) }
}

fn net_changes(old: &Model, new: &Model, ops: &[Operation]) -> BTreeMap<Key, (Option<Cid>, Option<Cid>)> {
    let change = |op: &Operation| {
        let key = op.key();
        (key.clone(), (old.get(key).copied(), new.get(key).copied()))
    };
    ops.iter().map(change).filter(|(_, change)| *change != (None, None)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_change_gives_the_tree_of_the_new_entries_and_exact_differences((old, changes) in any_change()) {
        let (old_root, store) = build_store(&old);
        let mut new = old.clone();
        let ops: Vec<_> = changes.iter().filter_map(|(key, value)| operation(&mut new, key, *value)).collect();
        let applied = apply(&old_root, &ops, &store).unwrap();

        let (new_root, new_store) = build_store(&new);
        prop_assert_eq!(applied.root, new_root);
        let (before, after) = (nodes_of(old_root, &store), nodes_of(new_root, &new_store));
        let added: Vec<Cid> = applied.added.iter().map(|node| node.cid).collect();
        prop_assert_eq!(added.iter().copied().collect::<BTreeSet<_>>(), &after - &before);
        prop_assert_eq!(applied.removed.iter().copied().collect::<BTreeSet<_>>(), &before - &after);
        prop_assert_eq!(added.len() + before.len(), applied.removed.len() + after.len());
        for node in &applied.added {
            prop_assert_eq!(Cid::dag_cbor(&node.bytes), node.cid);
            prop_assert_eq!(&node.node, &new_store[&node.cid]);
        }

        let net: BTreeMap<_, _> = applied.ops.iter().map(|op| (op.key.clone(), (op.prev, op.cid))).collect();
        prop_assert_eq!(net.len(), applied.ops.len());
        prop_assert_eq!(net, net_changes(&old, &new, &ops));
    }

    #[test]
    fn the_proof_alone_undoes_a_change_in_any_order((old, changes) in any_change()) {
        let (old_root, store) = build_store(&old);
        let mut new = old;
        let ops: Vec<_> = changes.iter().filter_map(|(key, value)| operation(&mut new, key, *value)).collect();
        let applied = apply(&old_root, &ops, &store).unwrap();

        let (new_root, new_store) = build_store(&new);
        let mut proof = Store::new();
        for (cid, bytes) in &applied.proof {
            prop_assert!(cid.verifies(bytes));
            prop_assert!(new_store.contains_key(cid), "the proof is part of the new tree");
            prop_assert!(proof.insert(*cid, Arc::new(Node::decode(bytes).unwrap())).is_none(), "each node once");
        }
        prop_assert_eq!(applied.proof[0].0, new_root);
        for node in &applied.added {
            prop_assert!(applied.ops.is_empty() || proof.contains_key(&node.cid), "new nodes lie on the ways to the keys");
        }

        for op in &applied.ops {
            prop_assert_eq!(neighbours(&new_root, &op.key, &proof), Ok(neighbours_in(&new, &op.key)));
        }

        let mut undo = applied.ops.clone();
        prop_assert_eq!(invert(&new_root, &undo, &proof), Ok(old_root));
        undo.reverse();
        prop_assert_eq!(invert(&new_root, &undo, &proof), Ok(old_root));
        undo.sort_by(|left, right| left.key.cmp(&right.key));
        prop_assert_eq!(invert(&new_root, &undo, &proof), Ok(old_root));
        if let Some(op) = undo.first_mut() {
            op.cid = Some(value(0).max(value(1)));
            op.prev = op.cid;
            prop_assert_ne!(invert(&new_root, &undo, &proof), Ok(old_root));
        }
    }

    #[test]
    fn a_change_asks_for_missing_nodes_once_per_level((old, changes) in any_change()) {
        let (root, store) = build_store(&old);
        let mut new = old;
        let ops: Vec<_> = changes.iter().filter_map(|(key, value)| operation(&mut new, key, *value)).collect();
        let mut cache = Store::new();
        let mut rounds = 0;
        let applied = loop {
            match apply(&root, &ops, &cache) {
                Err(Error::Missing(cids)) => {
                    rounds += 1;
                    let wanted = cids.len();
                    prop_assert!(cids.iter().all(|cid| !cache.contains_key(cid)));
                    cache.extend(cids.into_iter().map(|cid| (cid, Arc::clone(&store[&cid]))));
                    prop_assert!(wanted > 0);
                }
                result => break result.unwrap(),
            }
        };
        let height = store.values().filter_map(|node| node.layer()).max().unwrap_or(0);
        prop_assert!(rounds <= usize::from(height) + 1, "{rounds} rounds for height {height}");
        prop_assert_eq!(applied.root, build_store(&new).0);
    }

    #[test]
    fn lookups_and_their_proofs_agree_with_the_entries(model in any_model(150), key in any_key()) {
        let (root, store) = build_store(&model);
        for key in model.keys().chain([&key]) {
            let expected = model.get(key).copied();
            prop_assert_eq!(get(&root, key, &store), Ok(expected));
            prop_assert_eq!(neighbours(&root, key, &store), Ok(neighbours_in(&model, key)));
            let proof = path_proof(&root, key, &store).unwrap();
            let proof: Store = proof.iter().map(|(cid, bytes)| (*cid, Arc::new(Node::decode(bytes).unwrap()))).collect();
            prop_assert_eq!(get(&root, key, &proof), Ok(expected));
        }
    }

    #[test]
    fn a_walk_gives_all_entries_in_order_with_few_nodes_at_hand(model in any_model(200), limit in 1..20_usize) {
        let (root, store) = build_store(&model);
        let expected: Vec<_> = model.clone().into_iter().collect();
        prop_assert_eq!(&walk(root, &store).unwrap().1, &expected);

        let (mut walker, mut cache, mut entries) = (Walker::new(root), Store::new(), Vec::new());
        let (mut fetches, mut most_held) = (0, 0);
        loop {
            match walker.next(&cache) {
                Ok(Some(Step::Node { cid, .. })) => _ = cache.remove(&cid),
                Ok(Some(Step::Entry(entry))) => entries.push((entry.key, entry.value)),
                Ok(None) => break,
                Err(Error::Missing(missing)) => {
                    let ahead = walker.lookahead(&cache, limit);
                    prop_assert!(ahead.len() <= limit && ahead.contains(&missing[0]));
                    cache.extend(ahead.into_iter().map(|cid| (cid, Arc::clone(&store[&cid]))));
                    (fetches, most_held) = (fetches + 1, most_held.max(cache.len()));
                }
                Err(error) => panic!("{error}"),
            }
        }
        prop_assert_eq!(entries, expected);
        prop_assert!(cache.is_empty(), "nothing is fetched in vain");
        let height = 1 + store.values().filter_map(|node| node.layer()).max().map_or(0, usize::from);
        prop_assert!(most_held <= limit * height, "{most_held} nodes held, limit {limit}, height {height}");
        prop_assert!(fetches <= store.len());
    }

    #[test]
    fn a_walk_can_start_anywhere(model in any_model(100), key in any_key()) {
        let (root, store) = build_store(&model);
        let mut walker = Walker::starting_at(root, key.clone());
        let mut entries = Vec::new();
        while let Some(step) = walker.next(&store).unwrap() {
            if let Step::Entry(entry) = step {
                entries.push((entry.key, entry.value));
            }
        }
        let expected: Vec<_> = model.range(key..).map(|(key, value)| (key.clone(), *value)).collect();
        prop_assert_eq!(entries, expected);
    }

    #[test]
    fn a_walk_passes_by_what_is_left_out(model in any_model(150), new in vec(any_key(), 0..6)) {
        let (_, old) = build_store(&model);
        let mut model = model;
        model.extend(new.into_iter().map(|key| (key, value(0))));
        let (root, store) = build_store(&model);
        let cache: Store = store.iter().filter(|(cid, _)| !old.contains_key(*cid)).map(|(cid, node)| (*cid, Arc::clone(node))).collect();
        let mut walker = Walker::new(root);
        let mut found = BTreeSet::new();
        loop {
            match walker.next(&cache) {
                Ok(Some(Step::Node { cid, .. })) => prop_assert!(found.insert(cid)),
                Ok(Some(Step::Entry(entry))) => prop_assert_eq!(model.get(&entry.key), Some(&entry.value)),
                Ok(None) => break,
                Err(Error::Missing(_)) => walker.leave_out(walker.lookahead(&cache, 3)),
                Err(error) => panic!("{error}"),
            }
        }
        prop_assert_eq!(found, cache.keys().copied().collect());
    }

    #[test]
    fn a_node_is_encoded_as_the_data_model_would(model in any_model(60)) {
        for node in build_store(&model).1.values() {
            let block = node.encode();
            prop_assert_eq!(&Node::decode(&block).unwrap(), &**node);
            let value = crate::data::cbor::decode(&block).unwrap();
            prop_assert_eq!(crate::data::cbor::encode(&value).unwrap(), block);
            prop_assert_eq!(&value, &as_value(node));
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(model in any_model(60), at in any::<prop::sample::Index>(), byte: u8) {
        for node in build_store(&model).1.values() {
            let mut block = node.encode();
            let at = at.index(block.len());
            block[at] = byte;
            if let Ok(node) = Node::decode(&block) {
                prop_assert_eq!(node.encode(), block);
            } else {
                block.truncate(at);
                prop_assert!(Node::decode(&block).is_err());
            }
        }
    }

    #[test]
    fn no_bytes_break_the_decoder(block in vec(any::<u8>(), 0..200)) {
        prop_assert!(Node::decode(&block).is_err());
    }

    #[test]
    fn no_tree_breaks_the_operations(
        nodes in vec((vec((0..40_usize, 0..12_usize), 0..4), 0..12_usize), 1..10),
        keys in vec(any_key(), 1..6),
    ) {
        let (root, store) = forge(&nodes);
        let ops: Vec<_> = keys.iter().map(|key| AppliedOp { key: key.clone(), cid: None, prev: Some(value(1)) }).collect();
        let deletes: Vec<_> = keys.iter().map(|key| Operation::Delete { key: key.clone() }).collect();
        let creates: Vec<_> = keys.iter().map(|key| Operation::Create { key: key.clone(), cid: value(1) }).collect();
        _ = (neighbours(&root, &keys[0], &store), apply(&root, &deletes, &store), apply(&root, &creates, &store), invert(&root, &ops, &store));
        if let Ok((nodes, entries)) = walk(root, &store) {
            let rebuilt = build_store(&entries.into_iter().collect());
            prop_assert_eq!(rebuilt.0, root, "only a well-formed tree is walked to its end");
            prop_assert_eq!(nodes.len(), rebuilt.1.len());
        }
    }
}

/// A node as the general encoder would see it.
fn as_value(node: &Node) -> Ipld {
    let link = |cid: Option<Cid>| cid.map_or(Ipld::Null, |cid| Ipld::Link(cid.into()));
    let map = |fields: Vec<(&str, Ipld)>| Ipld::Map(fields.into_iter().map(|(name, v)| (name.to_owned(), v)).collect());
    let mut previous = "";
    let mut entries = Vec::new();
    for (entry, subtree) in node.entries().iter().zip(&node.subtrees()[1..]) {
        let key = entry.key.as_str();
        let shared = (0..=key.len()).rev().find(|len| previous.starts_with(&key[..*len])).unwrap();
        entries.push(map(vec![
            ("k", Ipld::Bytes(key.as_bytes()[shared..].to_vec())),
            ("p", Ipld::Integer(shared as i128)),
            ("t", link(*subtree)),
            ("v", link(Some(entry.value))),
        ]));
        previous = key;
    }
    map(vec![("e", Ipld::List(entries)), ("l", link(node.subtrees()[0]))])
}

/// Nodes that decode but need not fit together: each has keys of one layer and subtrees among the nodes before it.
fn forge(nodes: &[(Vec<(usize, usize)>, usize)]) -> (Cid, Store) {
    let (mut store, mut cids) = (Store::new(), Vec::<Cid>::new());
    let mut root = Node::empty();
    for (entries, left) in nodes {
        let layer = KEYS[(left * 17) % KEYS.len()].depth();
        let pick = |index: usize| cids.get(index).copied().filter(|_| layer > 0 || entries.is_empty());
        let keys: Vec<_> = KEYS.iter().filter(|key| key.depth() == layer).collect();
        let chosen: BTreeMap<_, _> =
            entries.iter().map(|(key, right)| (keys[key % keys.len()].clone(), pick(*right))).collect();
        let subtrees = [pick(*left)].into_iter().chain(chosen.values().copied()).collect();
        let entries = chosen.into_keys().map(|key| Entry { key, value: value(1) }).collect();
        root = Node::from_parts(layer, entries, subtrees);
        cids.push(Cid::dag_cbor(&root.encode()));
        store.insert(cids[cids.len() - 1], Arc::new(Node::decode(&root.encode()).unwrap()));
    }
    (Cid::dag_cbor(&root.encode()), store)
}

#[test]
fn the_tree_without_records_has_its_known_root() {
    let root = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm".parse().unwrap();
    assert_eq!(build_store(&Model::new()).0, root);
    assert_eq!(Node::decode(b"\xa2\x61e\x80\x61l\xf6"), Ok(Node::empty()));
}

#[test]
fn operations_must_fit_what_is_there() {
    let (held, absent) = (KEYS[3].clone(), KEYS[4].clone());
    let (root, store) = build_store(&Model::from([(held.clone(), value(1))]));
    let cid = value(2);
    for (op, error) in [
        (Operation::Create { key: held.clone(), cid }, Error::KeyExists(held.clone())),
        (Operation::Update { key: absent.clone(), cid }, Error::KeyNotFound(absent.clone())),
        (Operation::Delete { key: absent.clone() }, Error::KeyNotFound(absent.clone())),
    ] {
        assert_eq!(apply(&root, &[op], &store).unwrap_err(), error);
    }
    let wrong = AppliedOp { key: held.clone(), cid: Some(value(2)), prev: None };
    assert_eq!(invert(&root, &[wrong], &store), Err(Error::Mismatch(held.clone())));
    assert_eq!(build([(held.clone(), cid), (held.clone(), cid)], |_| ()), Err(Error::NotAscending(held)));
}

#[test]
fn nodes_must_stand_in_their_place() {
    let of_depth = |depth: u8| KEYS.iter().filter(|key| key.depth() == depth).cloned().collect::<BTreeSet<_>>();
    let (leaves, upper): (Vec<_>, Vec<_>) = (Vec::from_iter(of_depth(0)), Vec::from_iter(of_depth(1)));
    let mut store = Store::new();
    let mut put = |layer, keys: &[&Key], subtrees: &[Option<Cid>]| {
        let entries = keys.iter().map(|key| Entry { key: (*key).clone(), value: value(1) }).collect();
        let node = NewNode::new(Node::from_parts(layer, entries, subtrees.to_vec()));
        store.insert(node.cid, node.node);
        node.cid
    };
    let middle = &upper[upper.len() / 2];
    let split = leaves.partition_point(|key| key < middle);
    let (low, high) = (put(0, &[&leaves[split - 1]], &[None, None]), put(0, &[&leaves[split]], &[None, None]));
    let empty = put(0, &[], &[None]);
    let cases = [
        (put(1, &[middle], &[Some(low), Some(high)]), None),
        (put(1, &[middle], &[Some(high), Some(low)]), Some(Fault::Order)),
        (put(1, &[middle], &[Some(low), Some(low)]), Some(Fault::Order)),
        (put(1, &[middle], &[Some(empty), None]), Some(Fault::Empty)),
        (put(1, &[], &[Some(low)]), Some(Fault::UntrimmedRoot)),
    ];
    let two_up = cases[0].0;
    let skipping = put(3, &[&of_depth(3).pop_last().unwrap()], &[Some(two_up), None]);
    for (root, fault) in cases.into_iter().chain([(skipping, Some(Fault::Layer))]) {
        let found = match walk(root, &store) {
            Ok(_) => None,
            Err(Error::Malformed { fault, .. }) => Some(fault),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, fault);
        if let Some(fault) = fault {
            let op = Operation::Update { key: leaves[split - 1].clone(), cid: value(1) };
            let low = apply(&root, &[op], &store);
            let op = Operation::Update { key: leaves[split].clone(), cid: value(1) };
            let high = apply(&root, &[op], &store);
            let is_fault = |result| matches!(result, Err(Error::Malformed { fault: found, .. }) if found == fault);
            assert!(is_fault(low) || is_fault(high), "{fault:?}");
        }
    }
}
