//! Checking events as a relay does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::{CommitEvent, SyncEvent};
use crate::car::{self, CarError};
use crate::commit::{Commit, CommitError};
use crate::crypto::{PublicKey, SignatureError};
use crate::data::Cid;
use crate::mst::{self, Key, NewNode, Node};
use crate::syntax::{Did, Tid};

/// Why a reader of the firehose would refuse an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The blocks are no proper archive.
    #[error("event has malformed blocks")]
    Archive(#[from] CarError),
    /// The archive lacks the commit, or has another root.
    #[error("event does not hold its commit")]
    NoCommit,
    /// The commit's block is no commit.
    #[error("event has a malformed commit")]
    Commit(#[from] CommitError),
    /// The commit says something else than the event.
    #[error("commit has another {0} than its event")]
    Field(&'static str),
    /// The commit is not signed with the account's key.
    #[error("commit is not signed by its account")]
    Signature(#[from] SignatureError),
    /// The rev is not above the one of the commit before.
    #[error("rev does not rise")]
    Rev,
    /// Two operations on one path.
    #[error("several operations on {0}")]
    Repeated(Key),
    /// The archive lacks a created or updated record.
    #[error("event does not hold the record {0}")]
    NoRecord(Key),
    /// The operations are not what made the tree, or the proof does not suffice to tell.
    #[error("operations can not be undone")]
    Tree(#[from] mst::Error),
    /// Undoing the operations leads to another tree than the one before.
    #[error("operations lead back to {0}, which is not the tree before")]
    PrevData(Cid),
}

impl CommitEvent {
    /// Checks the event by itself: the commit is there, says the same as the event and, if `key` is given, is signed
    /// with it; the records are there; and undoing the operations leads back to the tree before.
    ///
    /// Whether `since` and `prev_data` name the commit before is for the caller to compare. Returns the commit.
    ///
    /// Source: atproto.com/specs/sync, "Commit validation".
    pub fn verify(&self, key: Option<&PublicKey>) -> Result<Commit, VerifyError> {
        let (root, blocks) = car::read(&self.blocks)?;
        let blocks: HashMap<_, _> = blocks.into_iter().collect();
        if root != self.commit {
            return Err(VerifyError::NoCommit);
        }
        let commit = find_commit(&root, &blocks, key)?;
        check_fields(&commit, &self.repo, self.rev)?;
        if self.since.is_some_and(|since| since >= self.rev) {
            return Err(VerifyError::Rev);
        }
        self.check_records(&blocks)?;

        // Blocks that are no nodes are records; a node that is damaged is then reported as missing.
        let nodes = blocks.iter().filter_map(|(cid, block)| Some((*cid, Arc::new(Node::decode(block).ok()?))));
        let nodes: HashMap<_, _> = nodes.collect();
        let before = mst::invert(&commit.data, &self.ops, &nodes)?;
        let expected = self.prev_data.unwrap_or_else(|| NewNode::new(Node::empty()).cid);
        if before == expected { Ok(commit) } else { Err(VerifyError::PrevData(before)) }
    }

    fn check_records(&self, blocks: &HashMap<Cid, Bytes>) -> Result<(), VerifyError> {
        let mut paths = HashSet::new();
        for op in &self.ops {
            if !paths.insert(&op.key) {
                return Err(VerifyError::Repeated(op.key.clone()));
            }
            if op.cid.is_some_and(|cid| !blocks.contains_key(&cid)) {
                return Err(VerifyError::NoRecord(op.key.clone()));
            }
        }
        Ok(())
    }
}

impl SyncEvent {
    /// Checks that the event's commit is there, says the same as the event and, if `key` is given, is signed with it.
    /// Returns the commit.
    pub fn verify(&self, key: Option<&PublicKey>) -> Result<Commit, VerifyError> {
        let (root, blocks) = car::read(&self.blocks)?;
        let commit = find_commit(&root, &blocks.into_iter().collect(), key)?;
        check_fields(&commit, &self.did, self.rev)?;
        Ok(commit)
    }
}

fn find_commit(cid: &Cid, blocks: &HashMap<Cid, Bytes>, key: Option<&PublicKey>) -> Result<Commit, VerifyError> {
    let commit = Commit::decode(blocks.get(cid).ok_or(VerifyError::NoCommit)?)?;
    if let Some(key) = key {
        commit.verify(key)?;
    }
    Ok(commit)
}

fn check_fields(commit: &Commit, did: &Did, rev: Tid) -> Result<(), VerifyError> {
    if commit.did != *did {
        return Err(VerifyError::Field("did"));
    }
    if commit.rev != rev {
        return Err(VerifyError::Field("rev"));
    }
    Ok(())
}
