//! The committer: gathers the commits that wait in this replica and sends them to Postgres as one statement.
//!
//! While one batch is under way the next one gathers, so an idle server adds no delay and a busy one pays one round trip
//! and one flush of the log for many commits. Batches are sent one at a time: they would only queue for the sequencer row.

use std::collections::HashSet;

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::plan::PlannedCommit;
use super::store::{self, CommitBatch, Outcome};
use crate::db;

/// Commits that may wait in a replica before writers are held back.
const QUEUE: usize = 1024;
/// Commits in one statement at most. Beyond this the cost per commit no longer falls.
const BATCH: usize = 128;
/// Tries of a batch whose connection broke.
const ATTEMPTS: usize = 3;

/// What Postgres said of one commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Stored and numbered.
    Applied,
    /// Another commit came first.
    HeadMoved,
    /// There is no such repo.
    NoRepo,
    /// The account may not write.
    Deactivated,
    /// The account may not write.
    Takendown,
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
    /// Postgres cannot be reached; nothing was stored.
    #[error("the database is not available")]
    Unavailable,
}

struct Waiting {
    commit: PlannedCommit,
    answer: oneshot::Sender<Result<Verdict, CommitError>>,
}

/// Handle to the task that sends the batches. The task ends when the last handle is dropped and the queue is empty.
#[derive(Clone)]
pub(super) struct Committer {
    queue: mpsc::Sender<Waiting>,
}

impl Committer {
    pub(super) fn start(pool: PgPool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(run(pool, waiting));
        Self { queue }
    }

    /// Waits for the batch that carries `commit`. If the caller goes away, the commit is applied all the same.
    pub(super) async fn submit(&self, commit: PlannedCommit) -> Result<Verdict, CommitError> {
        let (answer, verdict) = oneshot::channel();
        self.queue.send(Waiting { commit, answer }).await.map_err(|_| CommitError::Unavailable)?;
        verdict.await.unwrap_or(Err(CommitError::Unknown))
    }
}

async fn run(pool: PgPool, mut queue: mpsc::Receiver<Waiting>) {
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
        apply(&pool, batch).await;
    }
}

/// Takes what waits right now, up to the first commit of a repo that is in the batch already.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut repos = HashSet::from([first.commit.account]);
    let mut batch = vec![first];
    while batch.len() < BATCH {
        let Ok(waiting) = queue.try_recv() else { break };
        if !repos.insert(waiting.commit.account) {
            return (batch, Some(waiting));
        }
        batch.push(waiting);
    }
    (batch, None)
}

/// Applies a batch; if Postgres refuses it, applies its commits one by one, so that a bad one never fails its neighbours.
async fn apply(pool: &PgPool, batch: Vec<Waiting>) {
    match send(pool, &batch).await {
        Ok(verdicts) => answer(batch, verdicts),
        Err(error @ CommitError::Refused(_)) if batch.len() > 1 => {
            warn!(%error, commits = batch.len(), "batch refused; applying its commits one by one");
            for waiting in batch {
                let alone = vec![waiting];
                let verdicts = send(pool, &alone).await.unwrap_or_else(|error| vec![Err(error)]);
                answer(alone, verdicts);
            }
        }
        Err(error) => {
            let verdicts = batch.iter().map(|_| Err(error.clone())).collect();
            answer(batch, verdicts);
        }
    }
}

type Verdicts = Vec<Result<Verdict, CommitError>>;

/// Sends the batch, again if its connection broke: the function recognises a commit that it applied before.
async fn send(pool: &PgPool, batch: &[Waiting]) -> Result<Verdicts, CommitError> {
    let arrays: CommitBatch = batch.iter().map(|waiting| &waiting.commit).collect();
    let mut sent_before = false;
    for _ in 0..ATTEMPTS {
        // After the first failure, every idle connection may be as dead as the one that failed.
        let conn = if sent_before { db::acquire_live(pool).await } else { pool.acquire().await };
        let mut conn = match conn {
            Ok(conn) => conn,
            Err(_) if sent_before => return Err(CommitError::Unknown),
            Err(_) => return Err(CommitError::Unavailable),
        };
        match store::commit_batch(&mut conn, &arrays).await {
            Ok(outcomes) => return Ok(verdicts(batch.len(), &outcomes, sent_before)),
            // A session that was ended may have committed before; that is an outage, too.
            Err(error @ sqlx::Error::Database(_)) if !db::is_outage(&error) => {
                return Err(CommitError::Refused(error.to_string()));
            }
            Err(error) => {
                warn!(%error, "connection lost during a commit; asking again");
                // The connection's state is unknown: it must not go back to the pool.
                let _ = conn.close().await;
                sent_before = true;
            }
        }
    }
    Err(CommitError::Unknown)
}

fn verdicts(commits: usize, outcomes: &[(usize, Outcome)], sent_before: bool) -> Verdicts {
    let mut verdicts: Verdicts = (0..commits).map(|_| Err(CommitError::Unknown)).collect();
    for (place, outcome) in outcomes {
        let Some(verdict) = verdicts.get_mut(*place) else { continue };
        *verdict = match outcome {
            Outcome::Applied | Outcome::AppliedBefore => Ok(Verdict::Applied),
            // The first try may have been applied, and the repo changed again since.
            _ if sent_before => Err(CommitError::Unknown),
            Outcome::HeadMoved => Ok(Verdict::HeadMoved),
            Outcome::NoRepo => Ok(Verdict::NoRepo),
            Outcome::Deactivated => Ok(Verdict::Deactivated),
            Outcome::Takendown => Ok(Verdict::Takendown),
        };
    }
    verdicts
}

fn answer(batch: Vec<Waiting>, verdicts: Verdicts) {
    for (waiting, verdict) in batch.into_iter().zip(verdicts) {
        // A writer that went away does not need its answer.
        let _ = waiting.answer.send(verdict);
    }
}
