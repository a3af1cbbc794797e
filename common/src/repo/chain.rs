//! Commits of one repo, each on top of the one before, that are stored as if they were one: the head moves from the first
//! one's base to the last one, and the events tell of each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atproto::crypto::SigningKey;
use atproto::data::Cid;
use atproto::event::MAX_OPS;
use atproto::mst::{NewNode, Node};
use atproto::syntax::{Datetime, Nsid, RecordKey, Tid};
use bytes::Bytes;

use super::collections::CollectionChange;
use super::nodes::NodeError;
use super::plan::{Draft, Plan, PlanError, PlannedCommit, Refusal, WrittenRecord};
use super::prepare::{PreparedWrite, RecordPath};
use super::queue::Request;
use super::store::{self, Head};
use super::write::{CommitRef, WriteError};
use super::{Repos, queue};
use crate::db::AccountId;

/// Records that one commit may replace by new links. Each takes its share of the event's bytes.
const REPLACED: usize = 100;

/// One or more commits of a repo, ready for the committer, with what they change in the end.
pub(super) struct PlannedChain {
    pub(super) account: AccountId,
    /// The head that the first commit was made on.
    pub(super) expected: Cid,
    /// The last commit.
    pub(super) head: Head,
    pub(super) commit_block: Bytes,
    pub(super) growth: i64,
    /// One a commit, in their order.
    pub(super) events: Vec<Bytes>,
    pub(super) written: Vec<WrittenRecord>,
    pub(super) dropped: Vec<(Nsid, RecordKey)>,
    /// What any of the commits refers to, each once.
    pub(super) blobs: Vec<Cid>,
    /// What the chain as a whole begins or ends.
    pub(super) collections: Vec<CollectionChange>,
    /// With the rev of the commit that brings them.
    pub(super) added_nodes: Vec<(Tid, NewNode)>,
    pub(super) dropped_nodes: Vec<Cid>,
}

impl From<PlannedCommit> for PlannedChain {
    fn from(commit: PlannedCommit) -> Self {
        let rev = commit.head.rev;
        let mut blobs = Vec::new();
        add_blobs(&mut blobs, &commit.written);
        Self {
            account: commit.account,
            expected: commit.expected,
            head: commit.head,
            commit_block: commit.commit_block,
            growth: commit.growth,
            events: vec![commit.event],
            written: commit.written,
            dropped: commit.dropped,
            blobs,
            collections: commit.collections,
            added_nodes: commit.added_nodes.into_iter().map(|node| (rev, node)).collect(),
            dropped_nodes: commit.dropped_nodes,
        }
    }
}

impl PlannedChain {
    /// Adds a commit on top of the last one.
    ///
    /// What is stored drops before it writes. So a record that is dropped and comes back is in both lists, and what comes
    /// and goes within the chain in neither, or only in that of the dropped.
    fn push(&mut self, commit: PlannedCommit) {
        let rev = commit.head.rev;
        self.head = commit.head;
        self.commit_block = commit.commit_block;
        self.growth += commit.growth;
        self.events.push(commit.event);
        self.written.retain(|record| {
            let overwritten = commit.written.iter().any(|newer| newer.is_at(&record.collection, &record.rkey));
            let dropped = commit.dropped.iter().any(|(collection, rkey)| record.is_at(collection, rkey));
            !overwritten && !dropped
        });
        add_blobs(&mut self.blobs, &commit.written);
        for change in commit.collections {
            // What ends and begins again, or the other way round, is as it was.
            match self.collections.iter().position(|earlier| earlier.collection == change.collection) {
                Some(earlier) => drop(self.collections.swap_remove(earlier)),
                None => self.collections.push(change),
            }
        }
        self.written.extend(commit.written);
        self.dropped.extend(commit.dropped);
        let mut gone: HashSet<Cid> = commit.dropped_nodes.into_iter().collect();
        self.added_nodes.retain(|(_, node)| !gone.remove(&node.cid));
        self.dropped_nodes.extend(gone);
        self.added_nodes.extend(commit.added_nodes.into_iter().map(|node| (rev, node)));
    }

    /// Bytes that the chain sends to Postgres, but for some hundred.
    pub(super) fn size_bytes(&self) -> usize {
        let events: usize = self.events.iter().map(Bytes::len).sum();
        let records: usize = self.written.iter().map(|record| record.value.len()).sum();
        let nodes: usize = self.added_nodes.iter().map(|(_, node)| node.bytes.len()).sum();
        events + records + nodes
    }

    /// True if there is a record at `path` that the chain wrote.
    fn writes(&self, path: &RecordPath) -> bool {
        self.written.iter().any(|record| record.is_at(&path.collection, &path.rkey))
    }

    /// The records the chain writes that point at `target`.
    fn linking<'a>(&'a self, collection: &'a Nsid, target: &'a str) -> impl Iterator<Item = RecordPath> + 'a {
        let linking = self.written.iter().filter(move |record| {
            record.collection == *collection && record.target.as_deref().is_some_and(|at| at == target)
        });
        linking.map(|record| RecordPath { collection: record.collection.clone(), rkey: record.rkey.clone() })
    }
}

fn add_blobs(blobs: &mut Vec<Cid>, written: &[WrittenRecord]) {
    for cid in written.iter().flat_map(|record| &record.blobs) {
        if !blobs.contains(cid) {
            blobs.push(*cid);
        }
    }
}

/// What some requests come to, on a head that may be out of date.
pub(super) struct Drafted {
    /// `None` if none of them changes anything.
    pub(super) chain: Option<PlannedChain>,
    /// What to tell each, if the chain is stored or, without one, if the head is the newest.
    pub(super) outcomes: Vec<queue::Outcome>,
}

/// Why requests came to no chain.
#[derive(Debug, thiserror::Error)]
pub(super) enum DraftError {
    #[error("{0}")]
    Bug(String),
    #[error(transparent)]
    Nodes(#[from] NodeError),
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

impl From<DraftError> for WriteError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Storage(error) | DraftError::Nodes(NodeError::Storage(error)) => error.into(),
            DraftError::Bug(_) | DraftError::Nodes(_) => Self::Damaged(error.to_string()),
        }
    }
}

impl Repos {
    /// Makes the commits that `requests` ask for, on top of `head` and of each other.
    pub(super) async fn draft_chain(
        &self,
        account: AccountId,
        key: &SigningKey,
        requests: &[Request],
        head: Head,
    ) -> Result<Drafted, DraftError> {
        let mut drafting = Drafting { repos: self, account, key, head, chain: None, nodes: HashMap::new() };
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            outcomes.push(drafting.add(request).await?.map_err(WriteError::Refused));
        }
        Ok(Drafted { chain: drafting.chain, outcomes })
    }
}

/// A chain in the making.
struct Drafting<'a> {
    repos: &'a Repos,
    account: AccountId,
    key: &'a SigningKey,
    head: Head,
    chain: Option<PlannedChain>,
    /// Nodes of the chain's trees that are not stored yet.
    nodes: HashMap<Cid, Arc<Node>>,
}

impl Drafting<'_> {
    async fn add(&mut self, request: &Request) -> Result<Result<Option<CommitRef>, Refusal>, DraftError> {
        let replaced = self.replaced_links(&request.writes).await?;
        let commit = match self.plan(request, &replaced).await? {
            Ok(Plan::Commit(commit)) => *commit,
            Ok(Plan::Nothing) => return Ok(Ok(None)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.head = commit.head;
        self.nodes.extend(commit.added_nodes.iter().map(|new| (new.cid, Arc::clone(&new.node))));
        match &mut self.chain {
            Some(chain) => chain.push(commit),
            None => self.chain = Some(commit.into()),
        }
        Ok(Ok(Some(CommitRef { cid: self.head.cid, rev: self.head.rev })))
    }

    /// The records that the creates among `writes` replace: those that link to the same target.
    async fn replaced_links(&self, writes: &[PreparedWrite]) -> sqlx::Result<Vec<RecordPath>> {
        let mut replaced = Vec::new();
        for write in writes {
            let PreparedWrite::Create { path, record, replace_links: true } = write else { continue };
            let Some(target) = &record.target else { continue };
            let mut conn = self.repos.pool.acquire().await?;
            let rkeys = store::list_linking(&mut conn, self.account, &path.collection, target).await?;
            let stored = rkeys.into_iter().map(|rkey| RecordPath { collection: path.collection.clone(), rkey });
            // What the chain wrote anew may point elsewhere by now.
            replaced.extend(stored.filter(|path| !self.chain.as_ref().is_some_and(|chain| chain.writes(path))));
            replaced.extend(self.chain.iter().flat_map(|chain| chain.linking(&path.collection, target)));
        }
        // An import may have brought any number of them. Those that are left go with the next link.
        replaced.truncate(REPLACED.min(MAX_OPS.saturating_sub(writes.len())));
        Ok(replaced)
    }

    async fn plan(&self, request: &Request, replaced: &[RecordPath]) -> Result<Result<Plan, Refusal>, DraftError> {
        let draft = Draft {
            account: self.account,
            did: &request.did,
            head: self.head,
            key: self.key,
            replaced,
            writes: &request.writes,
            swap_commit: request.swap_commit,
            rev: self.repos.next_rev(self.head.rev),
            time: &Datetime::from_unix_millis(self.repos.now_micros() / 1000),
        };
        let mut failed = None;
        let planned = self
            .repos
            .nodes
            .run_on(self.account, &self.nodes, |source| match draft.plan(source) {
                Ok(plan) => Ok(Some(plan)),
                Err(PlanError::Tree(error)) => Err(error),
                Err(error) => {
                    failed = Some(error);
                    Ok(None)
                }
            })
            .await?;
        match (planned, failed) {
            (Some(plan), _) => Ok(Ok(plan)),
            (None, Some(PlanError::Refused(refusal))) => Ok(Err(refusal)),
            (None, error) => Err(DraftError::Bug(error.map_or_else(String::new, |error| error.to_string()))),
        }
    }
}
