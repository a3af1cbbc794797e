//! What a node must be like to stand where it stands.

use super::key::Key;
use super::{Error, Node};
use crate::data::Cid;

/// Why a node does not belong where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A node with nothing in it below the root.
    #[error("it is empty")]
    Empty,
    /// A root that only leads to a subtree.
    #[error("it is a root without keys")]
    UntrimmedRoot,
    /// Its keys are not one layer below its parent's.
    #[error("its keys belong to another layer")]
    Layer,
    /// Its keys do not lie in the gap between its parent's keys.
    #[error("its keys belong elsewhere")]
    Order,
}

/// A place in the tree.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `None` for the root, whose own keys tell its layer.
    layer: Option<u8>,
    after: Option<Key>,
    before: Option<Key>,
}

impl Place {
    pub(super) const ROOT: Self = Self { layer: None, after: None, before: None };

    /// A place of which only the layer is known.
    pub(super) fn at_layer(layer: u8) -> Self {
        Self { layer: Some(layer), after: None, before: None }
    }

    /// Checks that `node` may stand here and returns its layer.
    pub(super) fn admit(&self, cid: &Cid, node: &Node) -> Result<u8, Error> {
        self.check(node).map_err(|fault| Error::Malformed { cid: *cid, fault })
    }

    fn check(&self, node: &Node) -> Result<u8, Fault> {
        let layer = match (self.layer, node.layer()) {
            (None, None) if node.is_empty() => 0,
            (None, None) => return Err(Fault::UntrimmedRoot),
            (Some(_), _) if node.is_empty() => return Err(Fault::Empty),
            (Some(layer), Some(found)) if layer != found => return Err(Fault::Layer),
            (Some(0), None) => return Err(Fault::Layer),
            (None, Some(layer)) | (Some(layer), _) => layer,
        };
        if let [first, ..] = node.entries()
            && self.after.as_ref().is_some_and(|after| first.key <= *after)
        {
            return Err(Fault::Order);
        }
        if let [.., last] = node.entries()
            && self.before.as_ref().is_some_and(|before| last.key >= *before)
        {
            return Err(Fault::Order);
        }
        Ok(layer)
    }

    /// The place of subtree `index` of a node that stands here in `layer`.
    ///
    /// Nodes of layer 0 have no subtrees: [`Node::decode`] and [`Place::admit`] see to that.
    pub(super) fn below(&self, node: &Node, layer: u8, index: usize) -> Self {
        let entries = node.entries();
        let left = index.checked_sub(1).and_then(|before| entries.get(before));
        Self {
            layer: Some(layer.saturating_sub(1)),
            after: left.map(|entry| entry.key.clone()).or_else(|| self.after.clone()),
            before: entries.get(index).map(|entry| entry.key.clone()).or_else(|| self.before.clone()),
        }
    }
}
