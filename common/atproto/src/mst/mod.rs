//! The Merkle search tree that maps a repo's record paths to record CIDs.
//!
//! Pure and synchronous. Nodes come from a [`BlockSource`], usually a cache or a map filled beforehand. A call that
//! needs a node the source lacks ends with [`Error::Missing`], which names every node it could tell was lacking; the
//! caller fetches those and calls again, at most once per level of the tree.
//!
//! | Task | Item |
//! |---|---|
//! | change a tree | [`apply()`], and [`invert`] to check the change as a relay does |
//! | look up, prove | [`get`], [`neighbours()`], [`path_proof`] |
//! | make a tree from sorted entries | [`build()`], [`Builder`] |
//! | go through a tree | [`Walker`] |
//!
//! Trees from elsewhere may be hostile. Every node is checked against its place: its layer must be one below its
//! parent's, which bounds the height to 128 and rules out cycles, and its keys must lie between its neighbours', which
//! rules out that one node is counted twice. Source: atproto.com/specs/repository.

mod apply;
mod build;
mod edit;
mod key;
mod neighbours;
mod node;
mod place;
mod proof;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

pub use apply::{Applied, AppliedOp, Operation, apply, invert};
pub use build::{Builder, build};
pub use key::{Key, KeyError, MAX_KEY_LEN, common_prefix, depth};
pub use neighbours::{Neighbours, neighbours};
pub use node::{Entry, MAX_NODE_LEN, NewNode, Node, NodeError};
pub use place::Fault;
pub use proof::{get, path_proof};
pub use walk::{Step, Walker};

use crate::data::Cid;

/// Where the tree code takes nodes from.
pub trait BlockSource {
    /// The node with this CID, if it is at hand. Must not wait.
    fn node(&self, cid: &Cid) -> Option<Arc<Node>>;
}

impl<S: BuildHasher> BlockSource for HashMap<Cid, Arc<Node>, S> {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        self.get(cid).cloned()
    }
}

/// Why an operation on the tree failed. Nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source lacks these nodes; each is named once. With them the call gets further.
    #[error("{} tree nodes are missing", .0.len())]
    Missing(Vec<Cid>),
    /// A node that does not belong where it stands: the tree is damaged or forged.
    #[error("tree node {cid} is malformed: {fault}")]
    Malformed {
        /// The node.
        cid: Cid,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A create of a key that the tree holds.
    #[error("key {0} exists already")]
    KeyExists(Key),
    /// An update or delete of a key that the tree does not hold.
    #[error("key {0} does not exist")]
    KeyNotFound(Key),
    /// An operation to undo says something else about a key than the tree.
    #[error("the operation on {0} is not the one that made this tree")]
    Mismatch(Key),
    /// Keys for a new tree that are not in ascending order.
    #[error("key {0} is not above the key before it")]
    NotAscending(Key),
}

fn load(source: &impl BlockSource, cid: &Cid) -> Result<Arc<Node>, Error> {
    source.node(cid).ok_or_else(|| Error::Missing(vec![*cid]))
}
