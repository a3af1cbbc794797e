//! Changing a tree by a set of operations, and undoing them.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use bytes::Bytes;

use super::edit::Edit;
use super::key::Key;
use super::node::NewNode;
use super::proof::Cover;
use super::{BlockSource, Error, Node};
use crate::data::Cid;

/// A change to one record, as asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// A record where there is none.
    Create {
        /// Path of the record.
        key: Key,
        /// CID of the record.
        cid: Cid,
    },
    /// Another record in place of one.
    Update {
        /// Path of the record.
        key: Key,
        /// CID of the new record.
        cid: Cid,
    },
    /// No record where there is one.
    Delete {
        /// Path of the record.
        key: Key,
    },
}

/// A change to one record, as made: what is there now and what was there before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppliedOp {
    /// Path of the record.
    pub key: Key,
    /// CID of the record after the change; `None` if it is deleted.
    pub cid: Option<Cid>,
    /// CID of the record before the change; `None` if it is created.
    pub prev: Option<Cid>,
}

/// What [`apply`] did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Root of the new tree.
    pub root: Cid,
    /// Exactly the nodes that the new tree has and the old one had not.
    pub added: Vec<NewNode>,
    /// Exactly the nodes that the old tree had and the new one has not.
    pub removed: Vec<Cid>,
    /// The net change of each key, in order of first mention. A key created and deleted at once does not appear.
    pub ops: Vec<AppliedOp>,
    /// The covering proof: the nodes of the new tree, added or not, from which [`invert`] recovers the old root. The
    /// root comes first, also if nothing was changed.
    pub proof: Vec<(Cid, Bytes)>,
}

impl Operation {
    /// Path of the record.
    pub fn key(&self) -> &Key {
        match self {
            Self::Create { key, .. } | Self::Update { key, .. } | Self::Delete { key } => key,
        }
    }

    /// CID of the record that is to be there afterwards.
    pub fn cid(&self) -> Option<Cid> {
        match self {
            Self::Create { cid, .. } | Self::Update { cid, .. } => Some(*cid),
            Self::Delete { .. } => None,
        }
    }

    /// Checks that the record this operation found is one it may find.
    fn check(&self, found: Option<Cid>) -> Result<(), Error> {
        match (self, found) {
            (Self::Create { key, .. }, Some(_)) => Err(Error::KeyExists(key.clone())),
            (Self::Update { key, .. } | Self::Delete { key }, None) => Err(Error::KeyNotFound(key.clone())),
            _ => Ok(()),
        }
    }
}

/// Applies `ops` in order to the tree at `root`.
///
/// Several operations may name the same key; what counts at the end is their net effect, since a commit may mention a
/// path only once. Touches O(ops × height) nodes and encodes and hashes each changed one once.
///
/// # Errors
/// `Missing` with all nodes that can be told to be lacking, for all operations together: fetch them and call again, at
/// most once per level of the tree. `KeyExists`, `KeyNotFound`, `Malformed`.
pub fn apply(root: &Cid, ops: &[Operation], source: &impl BlockSource) -> Result<Applied, Error> {
    Cover::of(root, ops.iter().map(Operation::key), source)?;
    let mut edit = Edit::new(root, source)?;
    let mut net = NetChange::default();
    for op in ops {
        let found = edit.set(op.key(), op.cid())?;
        op.check(found)?;
        net.record(op.key(), found, op.cid());
    }
    let written = edit.write()?;
    let ops = net.finish();
    let proof = covering_proof(&written.root, &ops, &written.added, source)?;
    Ok(Applied { root: written.root, added: written.added, removed: written.removed, ops, proof })
}

/// Undoes `ops` on the tree at `root` and returns the root it had before.
///
/// This is how a reader of the firehose checks that a commit's operations are all that changed; `source` needs no more
/// than the nodes of [`Applied::proof`]. The order of `ops` does not matter if each key is mentioned once.
///
/// # Errors
/// `Mismatch` if the tree does not hold what an operation says it left there; `Missing` if the nodes do not suffice;
/// `Malformed`.
///
/// Source: atproto.com/specs/sync, "Commit validation: MST operation inversion".
pub fn invert(root: &Cid, ops: &[AppliedOp], source: &impl BlockSource) -> Result<Cid, Error> {
    Cover::of(root, ops.iter().map(|op| &op.key), source)?;
    let mut edit = Edit::new(root, source)?;
    for op in ops.iter().rev() {
        if edit.set(&op.key, op.prev)? != op.cid {
            return Err(Error::Mismatch(op.key.clone()));
        }
    }
    Ok(edit.write()?.root)
}

/// The net effect of operations on each key.
#[derive(Default)]
struct NetChange {
    ops: Vec<AppliedOp>,
    index: HashMap<Key, usize>,
}

impl NetChange {
    fn record(&mut self, key: &Key, prev: Option<Cid>, cid: Option<Cid>) {
        match self.index.entry(key.clone()) {
            hash_map::Entry::Occupied(known) => self.ops[*known.get()].cid = cid,
            hash_map::Entry::Vacant(new) => {
                new.insert(self.ops.len());
                self.ops.push(AppliedOp { key: key.clone(), cid, prev });
            }
        }
    }

    fn finish(mut self) -> Vec<AppliedOp> {
        self.ops.retain(|op| op.cid.is_some() || op.prev.is_some());
        self.ops
    }
}

/// Encodes the [`Cover`] of the operations' keys on the new tree.
fn covering_proof(
    root: &Cid,
    ops: &[AppliedOp],
    added: &[NewNode],
    source: &impl BlockSource,
) -> Result<Vec<(Cid, Bytes)>, Error> {
    let overlay = Overlay { added: added.iter().map(|node| (node.cid, node)).collect(), source };
    let cover = Cover::of(root, ops.iter().map(|op| &op.key), &overlay)?;
    let encode = |(cid, node): (Cid, Arc<Node>)| match overlay.added.get(&cid) {
        Some(new) => (cid, new.bytes.clone()),
        None => (cid, node.encode().into()),
    };
    Ok(cover.into_iter().map(encode).collect())
}

/// The new nodes in front of the old ones.
struct Overlay<'a, S> {
    added: HashMap<Cid, &'a NewNode>,
    source: &'a S,
}

impl<S: BlockSource> BlockSource for Overlay<'_, S> {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        match self.added.get(cid) {
            Some(new) => Some(Arc::clone(&new.node)),
            None => self.source.node(cid),
        }
    }
}
