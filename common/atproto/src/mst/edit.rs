//! A tree under change: only the touched nodes are in memory, and each is encoded and hashed once, at the end.

use std::collections::HashSet;
use std::mem;

use super::key::Key;
use super::node::{Entry, NewNode, Node};
use super::place::Place;
use super::{BlockSource, Error, load};
use crate::data::Cid;

/// A tree under change.
///
/// While changes go on there may be drafts without keys anywhere: needless ones are dropped when the tree is written,
/// so that no change has to look above itself.
pub(super) struct Edit<'s, S> {
    source: &'s S,
    root: Option<Subtree>,
    /// The root's layer.
    layer: u8,
    /// Nodes of the old tree that were turned into drafts.
    opened: Vec<Cid>,
}

/// What [`Edit::write`] gives.
pub(super) struct Written {
    pub(super) root: Cid,
    /// Nodes of the new tree that the old one did not have, children before parents.
    pub(super) added: Vec<NewNode>,
    /// Nodes of the old tree that the new one does not have.
    pub(super) removed: Vec<Cid>,
}

enum Subtree {
    Stored(Cid),
    Draft(Draft),
}

/// A node that can be changed. Like [`Node`], it has one more subtree than it has entries.
struct Draft {
    entries: Vec<Entry>,
    subtrees: Vec<Option<Subtree>>,
}

impl Draft {
    /// A draft without keys that leads to `subtree`.
    fn around(subtree: Option<Subtree>) -> Self {
        Self { entries: Vec::new(), subtrees: vec![subtree] }
    }

    fn of(node: &Node) -> Self {
        let subtrees = node.subtrees().iter().map(|subtree| subtree.map(Subtree::Stored)).collect();
        Self { entries: node.entries().to_vec(), subtrees }
    }
}

/// The layer of the subtrees of a node. Nodes of layer 0 have none, so nothing is ever done to the layer it gives for
/// them.
fn below(layer: u8) -> u8 {
    layer.saturating_sub(1)
}

impl<'s, S: BlockSource> Edit<'s, S> {
    pub(super) fn new(root: &Cid, source: &'s S) -> Result<Self, Error> {
        let node = load(source, root)?;
        let layer = Place::ROOT.admit(root, &node)?;
        Ok(Self { source, root: Some(Subtree::Draft(Draft::of(&node))), layer, opened: vec![*root] })
    }

    /// Puts `value` at `key`, or takes the key out, and returns what was there before.
    pub(super) fn set(&mut self, key: &Key, value: Option<Cid>) -> Result<Option<Cid>, Error> {
        let depth = key.depth();
        while self.layer < depth {
            // Grow upwards around the tree; inserting the key then cuts it in two.
            self.root = Some(Subtree::Draft(Draft::around(self.root.take())));
            self.layer += 1;
        }
        let root = self.root.take();
        let (root, before) = self.set_in(root, self.layer, &Target { key, depth, value })?;
        self.root = Some(root);
        Ok(before)
    }

    /// [`Edit::set`] in a subtree whose root has `layer`, which is not below the key's depth.
    fn set_in(
        &mut self,
        subtree: Option<Subtree>,
        layer: u8,
        target: &Target<'_>,
    ) -> Result<(Subtree, Option<Cid>), Error> {
        let mut draft = self.open(subtree, layer)?;
        let found = draft.entries.binary_search_by(|entry| entry.key.cmp(target.key));
        let before = match (found, target.value) {
            (Err(gap), _) if layer > target.depth => {
                let (child, before) = self.set_in(draft.subtrees[gap].take(), below(layer), target)?;
                draft.subtrees[gap] = Some(child);
                before
            }
            (Err(gap), Some(value)) => {
                let (left, right) = self.split(draft.subtrees[gap].take(), below(layer), target.key)?;
                draft.entries.insert(gap, Entry { key: target.key.clone(), value });
                draft.subtrees[gap] = left;
                draft.subtrees.insert(gap + 1, right);
                None
            }
            (Err(_), None) => None,
            (Ok(index), Some(value)) => Some(mem::replace(&mut draft.entries[index].value, value)),
            (Ok(index), None) => {
                let right = draft.subtrees.remove(index + 1);
                let left = draft.subtrees[index].take();
                draft.subtrees[index] = self.merge(left, right, below(layer))?;
                Some(draft.entries.remove(index).value)
            }
        };
        Ok((Subtree::Draft(draft), before))
    }

    /// Cuts a subtree in two at `key`, which it does not hold.
    fn split(
        &mut self,
        subtree: Option<Subtree>,
        layer: u8,
        key: &Key,
    ) -> Result<(Option<Subtree>, Option<Subtree>), Error> {
        if subtree.is_none() {
            return Ok((None, None));
        }
        let mut left = self.open(subtree, layer)?;
        let cut = left.entries.partition_point(|entry| entry.key < *key);
        let mut right = Draft { entries: left.entries.split_off(cut), subtrees: left.subtrees.split_off(cut) };
        let (before, after) = self.split(right.subtrees[0].take(), below(layer), key)?;
        left.subtrees.push(before);
        right.subtrees[0] = after;
        Ok((Some(Subtree::Draft(left)), Some(Subtree::Draft(right))))
    }

    /// Joins two subtrees whose keys lie one after the other.
    fn merge(&mut self, left: Option<Subtree>, right: Option<Subtree>, layer: u8) -> Result<Option<Subtree>, Error> {
        if left.is_none() || right.is_none() {
            return Ok(left.or(right));
        }
        let (mut left, mut right) = (self.open(left, layer)?, self.open(right, layer)?);
        let inner = left.subtrees.pop().flatten();
        right.subtrees[0] = self.merge(inner, right.subtrees[0].take(), below(layer))?;
        left.entries.append(&mut right.entries);
        left.subtrees.append(&mut right.subtrees);
        Ok(Some(Subtree::Draft(left)))
    }

    /// Makes a draft of a subtree's top node.
    fn open(&mut self, subtree: Option<Subtree>, layer: u8) -> Result<Draft, Error> {
        match subtree {
            None => Ok(Draft::around(None)),
            Some(Subtree::Draft(draft)) => Ok(draft),
            Some(Subtree::Stored(cid)) => {
                let node = load(self.source, &cid)?;
                Place::at_layer(layer).admit(&cid, &node)?;
                self.opened.push(cid);
                Ok(Draft::of(&node))
            }
        }
    }

    /// Encodes what was changed.
    pub(super) fn write(mut self) -> Result<Written, Error> {
        let mut nodes = Vec::new();
        let root = self.trim()?;
        let root = root.and_then(|draft| write_draft(draft, self.layer, &mut nodes)).unwrap_or_else(|| {
            let empty = NewNode::new(Node::empty());
            let cid = empty.cid;
            nodes.push(empty);
            cid
        });
        // Keys are unique, so a node of the new tree that equals one of the old tree is that very node, opened here.
        let new: HashSet<Cid> = nodes.iter().map(|node| node.cid).collect();
        let mut old = HashSet::new();
        let removed = self.opened.into_iter().filter(|cid| old.insert(*cid) && !new.contains(cid)).collect();
        nodes.retain(|node| !old.contains(&node.cid));
        Ok(Written { root, added: nodes, removed })
    }

    /// Takes off top layers without keys. `None` if no key is left in the tree.
    fn trim(&mut self) -> Result<Option<Draft>, Error> {
        while let Some(root) = self.root.take() {
            let mut draft = self.open(Some(root), self.layer)?;
            if !draft.entries.is_empty() {
                return Ok(Some(draft));
            }
            self.root = draft.subtrees.pop().flatten();
            self.layer = below(self.layer);
        }
        Ok(None)
    }
}

struct Target<'k> {
    key: &'k Key,
    depth: u8,
    value: Option<Cid>,
}

/// Encodes a draft and the drafts below it. `None` if there is nothing in it.
fn write_draft(draft: Draft, layer: u8, nodes: &mut Vec<NewNode>) -> Option<Cid> {
    let mut write_subtree = |subtree| match subtree {
        Subtree::Stored(cid) => Some(cid),
        Subtree::Draft(draft) => write_draft(draft, below(layer), nodes),
    };
    let subtrees: Vec<_> = draft.subtrees.into_iter().map(|subtree| subtree.and_then(&mut write_subtree)).collect();
    if draft.entries.is_empty() && subtrees == [None] {
        return None;
    }
    let node = NewNode::new(Node::from_parts(layer, draft.entries, subtrees));
    let cid = node.cid;
    nodes.push(node);
    Some(cid)
}
