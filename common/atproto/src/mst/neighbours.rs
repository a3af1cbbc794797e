//! Which keys stand next to a key.

use super::key::Key;
use super::place::Place;
use super::proof::child;
use super::{BlockSource, Error, load};
use crate::data::Cid;

/// The keys before and after a key, whether or not the tree holds the key itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Neighbours {
    /// The greatest key below it.
    pub before: Option<Key>,
    /// The smallest key above it.
    pub after: Option<Key>,
}

/// The neighbours of `key` in the tree at `root`. Reads only nodes that are in the covering proof of a change of `key`.
///
/// # Errors
/// `Missing` with the next node on the way; `Malformed`.
pub fn neighbours(root: &Cid, key: &Key, source: &impl BlockSource) -> Result<Neighbours, Error> {
    let mut found = Neighbours::default();
    let mut next = Some((*root, Place::ROOT));
    while let Some((cid, place)) = next.take() {
        let node = load(source, &cid)?;
        let layer = place.admit(&cid, &node)?;
        let (below, above) = match node.find(key) {
            Ok(index) => (index, index + 1),
            Err(gap) => (gap, gap),
        };
        // Those of a deeper node are nearer.
        let entries = node.entries();
        found.before = entries[..below].last().map(|entry| entry.key.clone()).or(found.before);
        found.after = entries.get(above).map(|entry| entry.key.clone()).or(found.after);
        if below == above {
            next = child(&node, &place, layer, below);
        } else {
            found.before = last_key(child(&node, &place, layer, below), source)?.or(found.before);
            found.after = first_key(child(&node, &place, layer, above), source)?.or(found.after);
        }
    }
    Ok(found)
}

fn first_key(mut next: Option<(Cid, Place)>, source: &impl BlockSource) -> Result<Option<Key>, Error> {
    let mut first = None;
    while let Some((cid, place)) = next.take() {
        let node = load(source, &cid)?;
        let layer = place.admit(&cid, &node)?;
        first = node.entries().first().map(|entry| entry.key.clone()).or(first);
        next = child(&node, &place, layer, 0);
    }
    Ok(first)
}

fn last_key(mut next: Option<(Cid, Place)>, source: &impl BlockSource) -> Result<Option<Key>, Error> {
    let mut last = None;
    while let Some((cid, place)) = next.take() {
        let node = load(source, &cid)?;
        let layer = place.admit(&cid, &node)?;
        last = node.entries().last().map(|entry| entry.key.clone()).or(last);
        next = child(&node, &place, layer, node.entries().len());
    }
    Ok(last)
}
