//! Making a whole tree from sorted entries, bottom up, in one pass.

use std::mem;

use super::Error;
use super::key::Key;
use super::node::{Entry, NewNode, Node};
use crate::data::Cid;

/// Builds the tree of `entries`, which must come in ascending order of their keys, and returns its root.
///
/// `emit` gets each node as soon as it is finished, children before parents and the root last; only the nodes along the
/// right edge are held in memory.
///
/// # Errors
/// `NotAscending`.
pub fn build(entries: impl IntoIterator<Item = (Key, Cid)>, mut emit: impl FnMut(NewNode)) -> Result<Cid, Error> {
    let mut builder = Builder::default();
    for (key, value) in entries {
        builder.push(key, value, &mut emit)?;
    }
    Ok(builder.finish(emit))
}

/// [`build`] for callers whose entries arrive bit by bit.
#[derive(Default)]
pub struct Builder {
    /// The unfinished node of each layer, from the leaves up. The topmost has entries.
    layers: Vec<Open>,
    last: Option<Key>,
}

/// An unfinished node: the subtree behind its last entry is still to come, so it has as many subtrees as entries.
#[derive(Default)]
struct Open {
    entries: Vec<Entry>,
    subtrees: Vec<Option<Cid>>,
}

impl Builder {
    /// Adds a record whose key is above all before it.
    ///
    /// # Errors
    /// `NotAscending`; the entry is then not added.
    pub fn push(&mut self, key: Key, value: Cid, emit: &mut impl FnMut(NewNode)) -> Result<(), Error> {
        if self.last.as_ref().is_some_and(|last| key <= *last) {
            return Err(Error::NotAscending(key));
        }
        let depth = usize::from(key.depth());
        if self.layers.len() <= depth {
            self.layers.resize_with(depth + 1, Open::default);
        }
        let subtree = self.close_below(depth, emit);
        self.last = Some(key.clone());
        let node = &mut self.layers[depth];
        node.subtrees.push(subtree);
        node.entries.push(Entry { key, value });
        Ok(())
    }

    /// Finishes the nodes that are still open and returns the root.
    pub fn finish(mut self, mut emit: impl FnMut(NewNode)) -> Cid {
        self.close_below(self.layers.len(), &mut emit).unwrap_or_else(|| hand_out(Node::empty(), &mut emit))
    }

    /// Finishes the open nodes of the layers below `layer`; returns the topmost of them.
    fn close_below(&mut self, layer: usize, emit: &mut impl FnMut(NewNode)) -> Option<Cid> {
        let mut below = None;
        for (layer, open) in (0..).zip(&mut self.layers[..layer]) {
            let Open { entries, mut subtrees } = mem::take(open);
            // Nothing in this layer and nothing below it: no node. Something only below it: a node without keys, for
            // the tree skips no layer.
            if below.is_some() || !entries.is_empty() {
                subtrees.push(below);
                below = Some(hand_out(Node::from_parts(layer, entries, subtrees), emit));
            }
        }
        below
    }
}

fn hand_out(node: Node, emit: &mut impl FnMut(NewNode)) -> Cid {
    let node = NewNode::new(node);
    let cid = node.cid;
    emit(node);
    cid
}
