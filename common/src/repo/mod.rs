//! Repositories: the only way to write one, and every way to read one.
//!
//! Owns `repo`, `record`, `mst_node`, `backlink` and `repo_collection`, and `repo_import*`, through which whole repos come in
//! (see [`import`]). A write goes through [`Repos::apply_writes`]:
//!
//! 1. [`PreparedWrite`]: checked against its schema and encoded, whatever state the repo is in. What it says of new blobs is
//!    checked against what was uploaded (`blobs`).
//! 2. `queue`: in a replica, the writes of one repo wait for each other. Those that waited for one commit go on together, as
//!    a `chain`: each still has a commit and an event of its own, but they are stored as one.
//! 3. `plan`: on the repo's head and tree nodes (cached; missing ones are loaded a level at a time) the pure tree code gives
//!    the new root, the new and the dropped nodes and the proof; the commit is undone once as a check, and signed.
//! 4. `commit`: whatever chains of different repos wait in this replica go to Postgres as one call of
//!    `repo_commit_batch_v2`, which compares and swaps the heads, stores, and numbers the events.
//!
//! A race for a repo that another replica wins is run again on the new head (`race`); a replica that lost several may
//! reserve the next commit, so that none starves. Only a swap the client asked for becomes an error. Nothing kept in memory
//! here is needed for correctness.

mod blobs;
mod chain;
mod collections;
mod commit;
mod export;
mod genesis;
mod heads;
mod import;
mod nodes;
mod plan;
mod prepare;
mod proof;
mod queue;
mod race;
mod read;
mod rebuild;
mod store;
mod takedown;
mod verify;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use atproto::syntax::{Tid, TidClock};
pub use blobs::BlobDiffers;
pub use commit::CommitError;
pub use export::{Archive, ExportError};
pub use genesis::Genesis;
pub use import::{ImportError, ImportLeftovers, Upload};
pub use plan::Refusal;
pub use prepare::{PreparedRecord, PreparedWrite, RecordError, RecordPath, SwapRecord, ValidationStatus};
pub use proof::ProofError;
pub use read::{ListedRepo, Page, Record, Repo, RepoCounts, RepoStatus};
pub use rebuild::{Losses, RebuildError, Rebuilder, Rebuilt};
pub use takedown::RecordMark;
use tokio::sync::Semaphore;
pub use verify::{Finding, Findings, RepoRef, Report, Verifier};
pub use write::{CommitRef, WriteError};

use crate::clock::Clock;
use crate::db::{Lookups, PgPool};
use crate::keys::Keys;
use crate::telemetry::metrics::Exposition;

/// Exports that may read from Postgres at once in a replica; each holds a connection while it does, so there are never more
/// than half as many as connections.
const EXPORTS: u32 = 8;

/// All repos of this server. Cheap to clone; the clones share their caches and the committer.
#[derive(Clone)]
pub struct Repos {
    pool: PgPool,
    keys: Keys,
    clock: Clock,
    clock_id: u16,
    heads: heads::Heads,
    nodes: nodes::NodeStore,
    queues: queue::Queues,
    committer: commit::Committer,
    /// This replica, to other replicas that write the same repo.
    writer: commit::Writer,
    tids: Arc<Mutex<TidClock>>,
    exports: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    records: Lookups<read::RecordLookup>,
}

impl fmt::Debug for Repos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repos").finish_non_exhaustive()
    }
}

impl Repos {
    /// Starts the committer, on the current tokio runtime.
    pub fn new(pool: PgPool, keys: Keys, clock: Clock) -> Self {
        // Replicas that write one repo at once should not make the same TIDs; a clash only costs one of them a retry.
        let clock_id = rand::random::<u16>() % 1024;
        let writer = commit::Writer::random();
        Self {
            heads: heads::Heads::new(),
            nodes: nodes::NodeStore::new(pool.clone()),
            queues: queue::Queues::default(),
            committer: commit::Committer::start(pool.clone(), writer),
            writer,
            tids: Arc::new(Mutex::new(TidClock::new(clock_id))),
            exports: Arc::new(Semaphore::new(exports(&pool))),
            imports: Arc::new(Semaphore::new(import::IMPORTS)),
            records: Lookups::new(pool.clone()),
            pool,
            keys,
            clock,
            clock_id,
        }
    }

    /// False if nothing can be committed any more: the committer has panicked. Writes fail at once, and only a new process
    /// helps.
    pub fn can_commit(&self) -> bool {
        !self.committer.has_ended()
    }

    /// Resolves when [`Repos::can_commit`] has become false.
    pub async fn commits_ended(&self) {
        self.committer.ended().await;
    }

    /// Writes what the writes of this process count.
    pub fn expose(&self, text: &mut Exposition) {
        commit::expose(text);
    }

    /// A fresh TID for a record that came without a key: greater than any this replica gave before.
    pub fn next_tid(&self) -> Tid {
        self.tids.lock().unwrap_or_else(PoisonError::into_inner).next(self.now_micros())
    }

    /// The rev of a commit on top of one with rev `prev`.
    fn next_rev(&self, prev: Tid) -> Tid {
        Tid::after(Some(prev), self.now_micros(), self.clock_id)
    }

    fn now_micros(&self) -> u64 {
        u64::try_from(self.clock.micros()).unwrap_or_default()
    }
}

/// How many exports leave connections for everybody else.
fn exports(pool: &PgPool) -> usize {
    let most = (pool.max_connections() / 2).clamp(1, EXPORTS);
    usize::try_from(most).unwrap_or(1)
}
