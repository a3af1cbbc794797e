//! Planning a commit: from a head and some writes to everything the commit function stores. Pure: no I/O, no clock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use atproto::commit::UnsignedCommit;
use atproto::crypto::SigningKey;
use atproto::data::Cid;
use atproto::event::{CommitEvent, CommitParts, MAX_BLOCKS_LEN, MAX_OPS};
use atproto::mst::{self, BlockSource, Key, NewNode, Node, Operation};
use atproto::syntax::{Datetime, Did, Nsid, RecordKey, Tid};
use bytes::Bytes;

use super::collections::{self, CollectionChange};
use super::prepare::{PreparedRecord, PreparedWrite, RecordPath, SwapRecord, is_link};
use super::store::Head;
use crate::db::AccountId;

/// A record as the commit function stores it.
pub(super) struct WrittenRecord {
    pub(super) collection: Nsid,
    pub(super) rkey: RecordKey,
    /// Rev of the commit that writes it.
    pub(super) rev: Tid,
    pub(super) cid: Cid,
    pub(super) value: Bytes,
    /// What the record points at: `None` if records of its kind point at nothing, empty if this one lost its target.
    pub(super) target: Option<String>,
    /// The blobs it refers to, each once.
    pub(super) blobs: Vec<Cid>,
    /// True if there was a record before, whose references to blobs end.
    pub(super) rewritten: bool,
}

impl WrittenRecord {
    pub(super) fn is_at(&self, collection: &Nsid, rkey: &RecordKey) -> bool {
        self.rkey == *rkey && self.collection == *collection
    }
}

/// A signed commit and what it changes.
pub(super) struct PlannedCommit {
    pub(super) account: AccountId,
    pub(super) expected: Cid,
    pub(super) head: Head,
    pub(super) commit_block: Bytes,
    pub(super) growth: i64,
    pub(super) event: Bytes,
    pub(super) written: Vec<WrittenRecord>,
    pub(super) dropped: Vec<(Nsid, RecordKey)>,
    pub(super) collections: Vec<CollectionChange>,
    pub(super) added_nodes: Vec<NewNode>,
    pub(super) dropped_nodes: Vec<Cid>,
}

/// Why writes do not fit the repo's state. Final only if the head is fresh: another replica may have changed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `swapCommit` names another commit than the head.
    #[error("Commit was at {0}")]
    CommitSwap(Cid),
    /// `swapRecord` names another version of the record.
    #[error("Record was at {}", .0.map_or_else(|| "null".to_owned(), |cid| cid.to_string()))]
    RecordSwap(Option<Cid>),
    /// A create of a record that exists.
    #[error("Record already exists at {0}")]
    Exists(String),
    /// An update or delete of a record that does not exist.
    #[error("Could not locate record: {0}")]
    Missing(String),
    /// More writes than a commit may carry.
    #[error("Too many writes. Max: {MAX_OPS}")]
    TooManyWrites,
    /// More bytes than an event may carry.
    #[error("Too many writes. Max event size: 2MB")]
    TooBig,
}

/// Why no commit was planned.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Tree nodes are missing in memory, or the tree is damaged.
    #[error(transparent)]
    Tree(#[from] mst::Error),
    /// Undoing the commit did not give the tree before it: a bug here, caught before anybody saw it.
    #[error("the commit cannot be undone on its own blocks")]
    NotInvertible,
}

/// What the writes come to.
pub(super) enum Plan {
    /// Nothing changes.
    Nothing,
    /// One commit.
    Commit(Box<PlannedCommit>),
}

/// Everything a commit is made of besides the tree.
pub(super) struct Draft<'a> {
    pub(super) account: AccountId,
    pub(super) did: &'a Did,
    pub(super) head: Head,
    pub(super) key: &'a SigningKey,
    /// Records that a create replaces, in the order they are deleted.
    pub(super) replaced: &'a [RecordPath],
    pub(super) writes: &'a [PreparedWrite],
    pub(super) swap_commit: Option<Cid>,
    pub(super) rev: Tid,
    pub(super) time: &'a Datetime,
}

impl Draft<'_> {
    /// Plans the commit on the tree that `source` gives.
    ///
    /// # Errors
    /// `Tree(Missing)` names nodes to load before the next call.
    pub(super) fn plan(&self, source: &impl BlockSource) -> Result<Plan, PlanError> {
        if self.replaced.len() + self.writes.len() > MAX_OPS {
            return Err(Refusal::TooManyWrites.into());
        }
        let swap_refused = self.swap_commit.is_some_and(|swap| swap != self.head.cid);
        let changes = match self.changes(source) {
            Err(PlanError::Refused(_)) if swap_refused => return Err(Refusal::CommitSwap(self.head.cid).into()),
            changes => changes?,
        };
        let operations: Vec<Operation> = changes.iter().filter_map(Change::operation).collect();
        // Reference: a put or deletion that changes nothing makes no commit and is not held against its swap; an empty
        // list makes one.
        if operations.is_empty() && self.writes.iter().any(PreparedWrite::is_optional) {
            return Ok(Plan::Nothing);
        }
        if swap_refused {
            return Err(Refusal::CommitSwap(self.head.cid).into());
        }
        let applied = mst::apply(&self.head.root, &operations, source)?;
        let nodes = proof_nodes(&applied)?;
        check_inverse(&applied, &self.head.root, &nodes)?;
        let collections =
            collections::changes(&applied.root, &applied.ops, &nodes).map_err(|_| PlanError::NotInvertible)?;
        self.commit(&changes, applied, collections).map(|commit| Plan::Commit(Box::new(commit)))
    }

    /// The net change of every path the writes touch, in the order they touch them first.
    fn changes(&self, source: &impl BlockSource) -> Result<Vec<Change<'_>>, PlanError> {
        let mut changes = Changes { root: self.head.root, source, places: HashMap::new(), list: Vec::new() };
        for path in self.replaced {
            changes.at(path)?.after = After::Deleted;
        }
        for write in self.writes {
            changes.at(write.path())?.apply(write)?;
        }
        Ok(changes.list)
    }

    fn commit(
        &self,
        changes: &[Change<'_>],
        applied: mst::Applied,
        collections: Vec<CollectionChange>,
    ) -> Result<PlannedCommit, PlanError> {
        let commit = UnsignedCommit { did: self.did.clone(), rev: self.rev, data: applied.root }.sign(self.key);
        let (cid, commit_block) = commit.to_block();
        let head = Head { cid, rev: self.rev, root: applied.root };
        let written: Vec<WrittenRecord> = changes.iter().filter_map(|change| change.written(self.rev)).collect();
        let records: Vec<_> = written.iter().map(|record| (record.cid, record.value.clone())).collect();
        let event = CommitEvent::new(
            CommitParts {
                commit: &commit,
                since: Some(self.head.rev),
                prev_data: Some(self.head.root),
                ops: &applied.ops,
                proof: &applied.proof,
                records: &records,
                time: self.time.clone(),
            },
            MAX_BLOCKS_LEN,
        )
        .map_err(|_| Refusal::TooBig)?;
        Ok(PlannedCommit {
            account: self.account,
            expected: self.head.cid,
            head,
            commit_block,
            growth: changes.iter().map(Change::growth).sum(),
            event: event.encode().into(),
            written,
            dropped: changes.iter().filter_map(Change::dropped).collect(),
            collections,
            added_nodes: applied.added,
            dropped_nodes: applied.removed,
        })
    }
}

/// The nodes of the new tree that a reader of the event has.
fn proof_nodes(applied: &mst::Applied) -> Result<HashMap<Cid, Arc<Node>>, PlanError> {
    let decode = |(cid, block): &(Cid, Bytes)| Some((*cid, Arc::new(Node::decode(block).ok()?)));
    applied.proof.iter().map(decode).collect::<Option<_>>().ok_or(PlanError::NotInvertible)
}

/// A relay undoes the operations on the event's blocks alone and expects the tree before. So do we, before it sees them.
fn check_inverse(applied: &mst::Applied, before: &Cid, nodes: &HashMap<Cid, Arc<Node>>) -> Result<(), PlanError> {
    match mst::invert(&applied.root, &applied.ops, nodes) {
        Ok(root) if root == *before => Ok(()),
        _ => Err(PlanError::NotInvertible),
    }
}

/// What the writes did to one path so far.
struct Change<'a> {
    path: &'a RecordPath,
    key: Key,
    before: Option<Cid>,
    after: After<'a>,
}

enum After<'a> {
    Untouched,
    Written(&'a PreparedRecord),
    Deleted,
}

impl<'a> Change<'a> {
    /// The record's CID after the writes so far.
    fn current(&self) -> Option<Cid> {
        match self.after {
            After::Untouched => self.before,
            After::Written(record) => Some(record.cid),
            After::Deleted => None,
        }
    }

    fn apply(&mut self, write: &'a PreparedWrite) -> Result<(), Refusal> {
        let current = self.current();
        match (write, current) {
            (PreparedWrite::Create { .. }, Some(_)) => return Err(Refusal::Exists(self.path.to_string())),
            (PreparedWrite::Update { .. } | PreparedWrite::Delete { .. }, None) => {
                return Err(Refusal::Missing(self.path.to_string()));
            }
            // Reference: a write that changes nothing is not held against its swap.
            (PreparedWrite::Put { record, .. }, Some(cid)) if cid == record.cid => {}
            (PreparedWrite::Remove { .. }, None) => {}
            (PreparedWrite::Put { record, swap, .. }, _) => {
                check_swap(*swap, current)?;
                self.after = After::Written(record);
            }
            (PreparedWrite::Remove { swap, .. }, Some(_)) => {
                check_swap(*swap, current)?;
                self.after = After::Deleted;
            }
            (PreparedWrite::Create { record, .. } | PreparedWrite::Update { record, .. }, _) => {
                self.after = After::Written(record);
            }
            (PreparedWrite::Delete { .. }, Some(_)) => self.after = After::Deleted,
        }
        Ok(())
    }

    /// What this comes to in the tree; a record made and deleted again comes to nothing.
    fn operation(&self) -> Option<Operation> {
        let key = self.key.clone();
        match (self.before, &self.after) {
            (_, After::Untouched) | (None, After::Deleted) => None,
            (Some(_), After::Deleted) => Some(Operation::Delete { key }),
            (None, After::Written(record)) => Some(Operation::Create { key, cid: record.cid }),
            (Some(_), After::Written(record)) => Some(Operation::Update { key, cid: record.cid }),
        }
    }

    /// By how many records the repo grows.
    fn growth(&self) -> i64 {
        i64::from(self.current().is_some()) - i64::from(self.before.is_some())
    }

    /// The record as it is stored, if there is one to store.
    fn written(&self, rev: Tid) -> Option<WrittenRecord> {
        let After::Written(record) = self.after else { return None };
        let lost_target = self.before.is_some() && is_link(&self.path.collection);
        Some(WrittenRecord {
            collection: self.path.collection.clone(),
            rkey: self.path.rkey.clone(),
            rev,
            cid: record.cid,
            value: record.value.clone(),
            target: record.target.clone().or_else(|| lost_target.then(String::new)),
            blobs: record.blob_cids(),
            rewritten: self.before.is_some(),
        })
    }

    /// The record to drop, if there is one.
    fn dropped(&self) -> Option<(Nsid, RecordKey)> {
        let dropped = self.before.is_some() && matches!(self.after, After::Deleted);
        dropped.then(|| (self.path.collection.clone(), self.path.rkey.clone()))
    }
}

fn check_swap(swap: SwapRecord, current: Option<Cid>) -> Result<(), Refusal> {
    match swap {
        SwapRecord::Any => Ok(()),
        SwapRecord::Absent if current.is_none() => Ok(()),
        SwapRecord::At(cid) if current == Some(cid) => Ok(()),
        SwapRecord::Absent | SwapRecord::At(_) => Err(Refusal::RecordSwap(current)),
    }
}

/// The changes so far, one a path, in the order of the first touch.
struct Changes<'a, 's, S> {
    root: Cid,
    source: &'s S,
    places: HashMap<&'a RecordPath, usize>,
    list: Vec<Change<'a>>,
}

impl<'a, S: BlockSource> Changes<'a, '_, S> {
    fn at(&mut self, path: &'a RecordPath) -> Result<&mut Change<'a>, PlanError> {
        let place = match self.places.entry(path) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                let key = Key::new(&path.collection, &path.rkey);
                let before = mst::get(&self.root, &key, self.source)?;
                self.list.push(Change { path, key, before, after: After::Untouched });
                *place.insert(self.list.len() - 1)
            }
        };
        Ok(&mut self.list[place])
    }
}
