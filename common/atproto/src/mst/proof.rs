//! Lookups and proofs: the nodes on the way to a key and to its neighbours.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::key::Key;
use super::place::Place;
use super::{BlockSource, Error, Node, load};
use crate::data::Cid;

/// The record at `key`, if there is one.
///
/// # Errors
/// `Missing` with the next node on the way; `Malformed`.
pub fn get(root: &Cid, key: &Key, source: &impl BlockSource) -> Result<Option<Cid>, Error> {
    let mut value = None;
    descend(root, key, source, |_, node, found| value = found.map(|index| node.entries()[index].value))?;
    Ok(value)
}

/// The nodes on the way from the root to `key`, or to where it would be: they prove that the tree holds a certain
/// record there, or none.
///
/// # Errors
/// `Missing` with the next node on the way; `Malformed`.
pub fn path_proof(root: &Cid, key: &Key, source: &impl BlockSource) -> Result<Vec<(Cid, Bytes)>, Error> {
    let mut proof = Vec::new();
    descend(root, key, source, |cid, node, _| proof.push((cid, node.encode().into())))?;
    Ok(proof)
}

/// Calls `visit` for each node on the way to `key`, with the entry that holds the key, if it is in that node.
fn descend(
    root: &Cid,
    key: &Key,
    source: &impl BlockSource,
    mut visit: impl FnMut(Cid, &Node, Option<usize>),
) -> Result<(), Error> {
    let mut next = Some((*root, Place::ROOT));
    while let Some((cid, place)) = next {
        let node = load(source, &cid)?;
        let layer = place.admit(&cid, &node)?;
        let found = node.find(key);
        visit(cid, &node, found.ok());
        next = match found {
            Ok(_) => None,
            Err(gap) => node.subtrees()[gap].map(|cid| (cid, place.below(&node, layer, gap))),
        };
    }
    Ok(())
}

/// The nodes one must know to change a set of keys: the ways to each key and to its nearest neighbours.
///
/// On the tree before a change these are all nodes the change can touch, which is why they are gathered first. On the
/// tree after it they are the covering proof, from which a reader can undo the change.
/// Source: atproto.com/specs/sync, "Commit validation: MST operation inversion".
pub(super) struct Cover<'s, S> {
    source: &'s S,
    seen: HashSet<Cid>,
    nodes: Vec<(Cid, Arc<Node>)>,
    missing: Vec<Cid>,
}

/// Which way to go down, once a key has been found, to reach its neighbour.
#[derive(Clone, Copy)]
enum Side {
    First,
    Last,
}

impl<'s, S: BlockSource> Cover<'s, S> {
    /// The nodes for all `keys`, the root first, each once.
    ///
    /// # Errors
    /// `Missing` with all nodes that could be told to be lacking, over all keys; `Malformed`.
    pub(super) fn of<'k>(
        root: &Cid,
        keys: impl IntoIterator<Item = &'k Key>,
        source: &'s S,
    ) -> Result<Vec<(Cid, Arc<Node>)>, Error> {
        let mut cover = Self { source, seen: HashSet::new(), nodes: Vec::new(), missing: Vec::new() };
        let mut keys: Vec<&Key> = keys.into_iter().collect();
        keys.sort_unstable();
        // Also without any key, so that there is always a tree to speak about.
        cover.add(*root, &Place::ROOT, &keys)?;
        if cover.missing.is_empty() { Ok(cover.nodes) } else { Err(Error::Missing(cover.missing)) }
    }

    /// Goes to `keys`, which are in order, from the node at `place`: through each node once, however many of them lie
    /// below it. Where a key is absent its neighbours lie on the same way; where it is found they end the subtrees beside
    /// it.
    fn add(&mut self, cid: Cid, place: &Place, mut keys: &[&Key]) -> Result<(), Error> {
        let Some((node, layer)) = self.visit(cid, place)? else { return Ok(()) };
        while let [key, others @ ..] = keys {
            keys = match node.find(key) {
                Ok(index) => {
                    self.follow(child(&node, place, layer, index), Side::Last)?;
                    self.follow(child(&node, place, layer, index + 1), Side::First)?;
                    others
                }
                Err(gap) => {
                    let end = node.entries().get(gap);
                    let inside = end.map_or(keys.len(), |end| keys.partition_point(|key| **key < end.key));
                    if let Some((cid, place)) = child(&node, place, layer, gap) {
                        self.add(cid, &place, &keys[..inside])?;
                    }
                    &keys[inside..]
                }
            };
        }
        Ok(())
    }

    /// Goes down along one side of a subtree.
    fn follow(&mut self, mut next: Option<(Cid, Place)>, side: Side) -> Result<(), Error> {
        while let Some((cid, place)) = next.take() {
            let Some((node, layer)) = self.visit(cid, &place)? else { return Ok(()) };
            let index = match side {
                Side::First => 0,
                Side::Last => node.entries().len(),
            };
            next = child(&node, &place, layer, index);
        }
        Ok(())
    }

    /// Takes note of the node at `place`; `None` if the source lacks it.
    fn visit(&mut self, cid: Cid, place: &Place) -> Result<Option<(Arc<Node>, u8)>, Error> {
        let first_time = self.seen.insert(cid);
        let Some(node) = self.source.node(&cid) else {
            if first_time {
                self.missing.push(cid);
            }
            return Ok(None);
        };
        // At each place, for a forged tree may use a node twice.
        let layer = place.admit(&cid, &node)?;
        if first_time {
            self.nodes.push((cid, Arc::clone(&node)));
        }
        Ok(Some((node, layer)))
    }
}

/// The subtree at `index` and its place, if there is one.
pub(super) fn child(node: &Node, place: &Place, layer: u8, index: usize) -> Option<(Cid, Place)> {
    node.subtrees()[index].map(|cid| (cid, place.below(node, layer, index)))
}
