//! The first commit of a repo.

use atproto::commit::UnsignedCommit;
use atproto::crypto::SigningKey;
use atproto::data::Cid;
use atproto::event::{CommitEvent, CommitParts, Event, MAX_BLOCKS_LEN, SyncEvent, TooBig};
use atproto::mst::{NewNode, Node};
use atproto::syntax::{Datetime, Did, Tid};
use bytes::Bytes;
use chrono::{DateTime, Utc};

/// The signed commit of an empty tree: what a repo is before its first record.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// CID of the commit.
    pub head: Cid,
    /// Its rev.
    pub rev: Tid,
    /// The encoded commit.
    pub commit_block: Bytes,
    /// CID of the empty tree.
    pub root: Cid,
    /// The encoded empty node.
    pub root_block: Bytes,
    /// What the stream is told of it: a `#commit` without operations and a `#sync`.
    pub events: [Event; 2],
}

impl Genesis {
    /// Makes and signs the first commit of `did`.
    ///
    /// # Errors
    /// Never in practice: two small blocks fit an event.
    pub fn new(did: &Did, key: &SigningKey, now: DateTime<Utc>) -> Result<Self, TooBig> {
        let micros = u64::try_from(now.timestamp_micros()).unwrap_or_default();
        let rev = Tid::from_micros(micros, rand::random());
        let time = Datetime::from_unix_millis(micros / 1000);
        let root = NewNode::new(Node::empty());
        let commit = UnsignedCommit { did: did.clone(), rev, data: root.cid }.sign(key);
        let (head, commit_block) = commit.to_block();
        let parts = CommitParts {
            commit: &commit,
            since: None,
            prev_data: None,
            ops: &[],
            proof: &[(root.cid, root.bytes.clone())],
            records: &[],
            time: time.clone(),
        };
        let committed = CommitEvent::new(parts, MAX_BLOCKS_LEN)?;
        let synced = SyncEvent::new(&commit, time);
        let events = [Event::Commit(committed), Event::Sync(synced)];
        Ok(Self { head, rev, commit_block, root: root.cid, root_block: root.bytes, events })
    }
}
