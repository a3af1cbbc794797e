//! Trees for the targets that need one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use atproto::data::Cid;
use atproto::mst::{self, AppliedOp, Key, Node, Operation};

use super::draw::Draw;

/// Nodes by CID.
pub type Store = HashMap<Cid, Arc<Node>>;

/// What a tree holds.
pub type Model = BTreeMap<Key, Cid>;

/// Layers that the drawn keys are of.
pub const LAYERS: usize = 7;

/// Keys in ascending order, for each layer: random ones would nearly all be of the lowest two. Some share long prefixes.
static KEYS: LazyLock<[Vec<Key>; LAYERS]> = LazyLock::new(|| {
    let mut layers: [Vec<Key>; LAYERS] = Default::default();
    let long = "x".repeat(900);
    for number in 0..40_000 {
        let path = if number % 8 == 0 {
            format!("com.example.long/{long}{number}")
        } else {
            format!("a.b.c{}/{number:05}", number % 3)
        };
        let key: Key = path.parse().expect("a key");
        if let Some(layer) = layers.get_mut(usize::from(key.depth())) {
            layer.push(key);
        }
    }
    for layer in &mut layers {
        layer.sort();
        // Few enough that drawn keys meet each other.
        layer.truncate(48);
    }
    layers
});

/// The keys of one layer.
pub fn layer(number: u8) -> &'static [Key] {
    &KEYS[usize::from(number) % LAYERS]
}

pub fn draw_key(draw: &mut Draw<'_>) -> Key {
    let layer = layer(draw.byte());
    layer[draw.below(layer.len())].clone()
}

/// One of 256 values.
pub fn value(number: u8) -> Cid {
    Cid::raw(&[number])
}

pub fn draw_model(draw: &mut Draw<'_>) -> Model {
    (0..draw.byte()).map_while(|_| (!draw.is_empty()).then(|| (draw_key(draw), value(draw.byte())))).collect()
}

/// The tree of `model`, its nodes put into `store`.
pub fn build(model: &Model, store: &mut Store) -> Cid {
    let entries = model.iter().map(|(key, value)| (key.clone(), *value));
    mst::build(entries, |node| _ = store.insert(node.cid, node.node)).expect("a map is in order")
}

/// Operations on `model`, which is changed by them. Half of them go to keys it holds.
pub fn draw_changes(draw: &mut Draw<'_>, model: &mut Model) -> Vec<Operation> {
    let mut ops = Vec::new();
    for _ in 0..draw.byte() % 32 {
        let held = draw.bool().then(|| model.keys().nth(draw.below(model.len())).cloned()).flatten();
        let key = held.unwrap_or_else(|| draw_key(draw));
        ops.push(match (model.contains_key(&key), draw.byte()) {
            (true, 0..128) => Operation::Delete { key },
            (true, number) => Operation::Update { key, cid: value(number) },
            (false, number) => Operation::Create { key, cid: value(number) },
        });
        let op = &ops[ops.len() - 1];
        match op.cid() {
            Some(cid) => model.insert(op.key().clone(), cid),
            None => model.remove(op.key()),
        };
    }
    ops
}

/// What differs between two models: of each key, the value before and after.
pub fn differences(before: &Model, after: &Model) -> BTreeMap<Key, (Option<Cid>, Option<Cid>)> {
    let keys = before.keys().chain(after.keys());
    let change = |key: &Key| (key.clone(), (before.get(key).copied(), after.get(key).copied()));
    keys.map(change).filter(|(_, (before, after))| before != after).collect()
}

/// What operations say they changed; those that say that nothing changed are left out.
pub fn claims(ops: &[AppliedOp]) -> BTreeMap<Key, (Option<Cid>, Option<Cid>)> {
    let changes = ops.iter().filter(|op| op.prev != op.cid);
    changes.map(|op| (op.key.clone(), (op.prev, op.cid))).collect()
}
