//! The committer: gathers the chains of commits that wait in this replica and sends them to Postgres as one statement.
//!
//! While one batch is under way the next one gathers, so an idle server adds no delay and a busy one pays one round trip
//! and one flush of the log for many commits. Batches are sent one at a time: they would only queue for the sequencer row.

use std::collections::HashSet;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

use super::super::chain::PlannedChain;
use super::delivery::Delivery;
use super::metrics;
use super::store::Writer;
use crate::db::PgPool;

/// Chains that may wait in a replica before writers are held back.
const QUEUE: usize = 1024;
/// Chains in one statement at most. Beyond this the cost per commit no longer falls.
const BATCH: usize = 128;
/// Bytes in one statement, give or take a chain. One commit may have four million, an ordinary one has some thousand.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What Postgres said of one chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::repo) enum Verdict {
    /// Stored and numbered.
    Applied,
    /// Another commit came first, or its writer is still at work on the repo.
    LostRace,
    /// There is no such repo.
    NoRepo,
    /// The account may not write.
    Deactivated,
    /// The account may not write.
    Takendown,
    /// A blob that a record refers to is not there, or somebody else is at work on it.
    BlobMissing,
}

/// Why a commit got no verdict.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The connection broke before the answer came: the commit may or may not have been stored.
    #[error("the database connection broke; whether the commit was stored is not known")]
    Unknown,
    /// Postgres refused the statement; nothing was stored.
    #[error("the database refused the commit: {0}")]
    Refused(String),
    /// Postgres cannot be reached, or is too busy; nothing was stored.
    #[error("the database is not available")]
    Unavailable,
}

pub(super) struct Waiting {
    pub(super) chain: PlannedChain,
    answer: oneshot::Sender<Result<Verdict, CommitError>>,
}

impl Waiting {
    pub(super) fn answer(self, verdict: Result<Verdict, CommitError>) {
        // A writer that went away does not need its answer.
        let _ = self.answer.send(verdict);
    }
}

/// Handle to the task that sends the batches. The task ends when the last handle is dropped and the queue is empty.
#[derive(Clone)]
pub(in crate::repo) struct Committer {
    queue: mpsc::Sender<Waiting>,
}

impl Committer {
    pub(in crate::repo) fn start(pool: PgPool, writer: Writer) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(run(pool, writer, waiting));
        Self { queue }
    }

    /// Waits for the batch that carries `chain`. If the caller goes away, it is applied all the same.
    pub(in crate::repo) async fn submit(&self, chain: PlannedChain) -> Result<Verdict, CommitError> {
        let (answer, verdict) = oneshot::channel();
        self.queue.send(Waiting { chain, answer }).await.map_err(|_| CommitError::Unavailable)?;
        verdict.await.unwrap_or(Err(CommitError::Unknown))
    }

    /// True if the task is gone, which is not its way as long as there is a handle.
    pub(in crate::repo) fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Resolves when the task is gone.
    pub(in crate::repo) async fn ended(&self) {
        self.queue.closed().await;
    }
}

async fn run(pool: PgPool, writer: Writer, mut queue: mpsc::Receiver<Waiting>) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(waiting) => waiting,
            None => match queue.recv().await {
                Some(waiting) => waiting,
                None => return,
            },
        };
        let (batch, rest) = gather(first, &mut queue);
        held = rest;
        let (chains, started) = (batch.len(), Instant::now());
        let reachable = apply(&pool, writer, batch).await;
        metrics::batch_done(chains, started.elapsed());
        if !reachable {
            // What waited meanwhile would only wait as long again for the same.
            while let Some(waiting) = held.take().or_else(|| queue.try_recv().ok()) {
                waiting.answer(Err(CommitError::Unavailable));
            }
        }
    }
}

/// Takes what waits right now, up to the first chain of a repo that is in the batch already.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut repos = HashSet::from([first.chain.account]);
    let mut bytes = first.chain.size_bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Ok(waiting) = queue.try_recv() else { break };
        if !repos.insert(waiting.chain.account) {
            return (batch, Some(waiting));
        }
        bytes += waiting.chain.size_bytes();
        batch.push(waiting);
    }
    (batch, None)
}

/// Applies a batch; if Postgres refuses it, applies its halves, so that a bad chain never fails its neighbours. False if
/// Postgres cannot be reached.
async fn apply(pool: &PgPool, writer: Writer, batch: Vec<Waiting>) -> bool {
    let mut reachable = true;
    let mut deliveries = vec![Delivery::new(batch)];
    while let Some(mut delivery) = deliveries.pop() {
        match delivery.send(pool, writer).await {
            Ok(verdicts) => delivery.answer(verdicts),
            Err(error @ CommitError::Refused(_)) if delivery.len() > 1 => {
                warn!(%error, chains = delivery.len(), "batch refused; applying its halves");
                let (first, second) = delivery.split();
                deliveries.extend([second, first]);
            }
            Err(error) => {
                reachable &= matches!(error, CommitError::Refused(_));
                delivery.fail(&error);
            }
        }
    }
    reachable
}
