//! Getting a batch to Postgres and its verdicts back, though connections break and answers are lost.
//!
//! A connection whose other end is gone, machine and all, says nothing for a quarter of an hour, and all writers of the
//! replica wait behind the batch that it carries. So silence is looked into: if another connection can be had, and shows
//! that nobody is at work on the batch's repos, no answer will come.

use std::pin::pin;
use std::time::Duration;

use sqlx::Connection as _;
use tokio::select;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::committer::{CommitError, Verdict, Waiting};
use super::store::{self, CommitBatch, Outcome, Writer};
use crate::db::{self, PgPool, PoolConnection};

/// Tries of a batch whose connection broke, or that Postgres sacrificed to another transaction.
const TRIES: usize = 3;
/// How long to wait for an answer. Longer than Postgres lets a statement run: by then the connection is dead, though nobody
/// said so.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long a silence is nothing strange. A batch takes some milliseconds.
const SILENCE: Duration = Duration::from_secs(3);
/// How long an answer may be under way when its statement has ended.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long to look for a connection on which to ask again.
const RECONNECT: Duration = Duration::from_secs(20);

/// A batch on its way.
pub(super) struct Delivery {
    batch: Vec<Waiting>,
    /// An earlier try got no answer: Postgres may have applied it, or be at work on it still.
    unanswered: bool,
}

pub(super) type Verdicts = Vec<Result<Verdict, CommitError>>;

/// Why a statement gave no verdicts.
enum Failure {
    /// No answer. The statement may have run, and may be running yet.
    Lost,
    /// The same, and the connection is not even broken.
    Silence,
    /// Postgres rolled it back in favour of another transaction.
    Sacrificed,
    /// Postgres has no room for it, or no lock in time.
    Overloaded,
    /// Something is wrong with it.
    Refused(String),
}

impl Delivery {
    pub(super) fn new(batch: Vec<Waiting>) -> Self {
        Self { batch, unanswered: false }
    }

    pub(super) fn len(&self) -> usize {
        self.batch.len()
    }

    /// Two halves. What is not known of the whole is not known of them.
    pub(super) fn split(mut self) -> (Self, Self) {
        let second = self.batch.split_off(self.batch.len() / 2);
        let unanswered = self.unanswered;
        (self, Self { batch: second, unanswered })
    }

    pub(super) fn answer(self, verdicts: Verdicts) {
        for (waiting, verdict) in self.batch.into_iter().zip(verdicts) {
            waiting.answer(verdict);
        }
    }

    pub(super) fn fail(self, error: &CommitError) {
        let verdicts = self.batch.iter().map(|_| Err(error.clone())).collect();
        self.answer(verdicts);
    }

    /// Sends the batch, and again if no answer comes: the function recognises a chain that it applied before.
    pub(super) async fn send(&mut self, pool: &PgPool, writer: Writer) -> Result<Verdicts, CommitError> {
        for _ in 0..TRIES {
            let Some(mut conn) = self.connect(pool).await else { return Err(self.without_answer(None)) };
            let failure = match self.ask(pool, &mut conn, writer).await {
                Some(Ok(outcomes)) => return Ok(self.verdicts(&outcomes)),
                Some(Err(error)) => failure(&error),
                None => Failure::Silence,
            };
            if matches!(failure, Failure::Lost | Failure::Silence) {
                warn!("no answer to a batch of commits; asking again");
                self.unanswered = true;
            }
            match failure {
                // Nobody knows what its next answer would be the answer to.
                Failure::Lost => conn.close_on_drop(),
                Failure::Silence => conn.give_up(),
                Failure::Sacrificed => {}
                Failure::Overloaded => return Err(self.without_answer(None)),
                Failure::Refused(why) => return Err(self.without_answer(Some(why))),
            }
        }
        Err(self.without_answer(None))
    }

    /// What Postgres answers; `None` if nothing more is to be expected of this connection.
    async fn ask(
        &self,
        pool: &PgPool,
        conn: &mut PoolConnection,
        writer: Writer,
    ) -> Option<sqlx::Result<Vec<(usize, Outcome)>>> {
        let arrays: CommitBatch = self.batch.iter().map(|waiting| &waiting.chain).collect();
        let mut answer = pin!(timeout(PATIENCE, store::commit_batch(conn, writer, &arrays)));
        select! {
            biased;
            answer = &mut answer => answer.ok(),
            () = self.until_ended(pool) => timeout(LAST_CALL, answer).await.ok()?.ok(),
        }
    }

    /// Resolves when another connection, of its own lest it wait for those of a dead server, shows that the statement is at
    /// work no more. Should it begin after all, it and the next one compete as those of two replicas do.
    async fn until_ended(&self, pool: &PgPool) {
        let accounts = self.accounts();
        loop {
            sleep(SILENCE).await;
            let Ok(Ok(mut conn)) = timeout(SILENCE, db::connect_patient(pool, PATIENCE)).await else { continue };
            if let Ok(Ok(())) = timeout(PATIENCE, store::await_writers(&mut conn, &accounts)).await {
                // A farewell is a courtesy.
                let _ = timeout(LAST_CALL, conn.close()).await;
                return;
            }
        }
    }

    fn accounts(&self) -> Vec<i64> {
        self.batch.iter().map(|waiting| waiting.chain.account.get()).collect()
    }

    /// A connection for the next try; `None` if there is none to be had. After a lost answer it is one that works, and comes
    /// when the lost statement has ended.
    async fn connect(&self, pool: &PgPool) -> Option<PoolConnection> {
        if !self.unanswered {
            return pool.acquire().await.ok();
        }
        let accounts = self.accounts();
        let until = Instant::now() + RECONNECT;
        while Instant::now() < until {
            let Ok(Ok(mut conn)) = timeout(RECONNECT, db::acquire_live(pool)).await else { return None };
            match timeout(PATIENCE, store::await_writers(&mut conn, &accounts)).await {
                Ok(Ok(())) => return Some(conn),
                Ok(Err(_)) | Err(_) => conn.close_on_drop(),
            }
        }
        None
    }

    /// What to tell the writers if Postgres did not judge; `refusal` is what it found wrong with the whole batch.
    fn without_answer(&self, refusal: Option<String>) -> CommitError {
        match refusal {
            // Of a single chain that may have been applied, a refusal of the second try says nothing. Halves of a batch
            // are each asked for again.
            Some(why) if !self.unanswered || self.len() > 1 => CommitError::Refused(why),
            _ if self.unanswered => CommitError::Unknown,
            _ => CommitError::Unavailable,
        }
    }

    fn verdicts(&self, outcomes: &[(usize, Outcome)]) -> Verdicts {
        let mut verdicts: Verdicts = self.batch.iter().map(|_| Err(CommitError::Unknown)).collect();
        for (place, outcome) in outcomes {
            let Some(verdict) = verdicts.get_mut(*place) else { continue };
            *verdict = match outcome {
                Outcome::Applied | Outcome::AppliedBefore => Ok(Verdict::Applied),
                // An earlier try may have been applied, and the repo changed again since.
                _ if self.unanswered => Err(CommitError::Unknown),
                Outcome::HeadMoved | Outcome::Busy => Ok(Verdict::LostRace),
                Outcome::NoRepo => Ok(Verdict::NoRepo),
                Outcome::Deactivated => Ok(Verdict::Deactivated),
                Outcome::Takendown => Ok(Verdict::Takendown),
                Outcome::BlobMissing => Ok(Verdict::BlobMissing),
            };
        }
        verdicts
    }
}

/// Tells what Postgres said no to from what it had no say in. Source: the PostgreSQL manual, appendix A.
fn failure(error: &sqlx::Error) -> Failure {
    // A session that was ended may have committed before: that is an outage, too.
    if db::is_outage(error) {
        return Failure::Lost;
    }
    let refused = || Failure::Refused(error.to_string());
    match error {
        // No chain of the batch is to blame: the function waits for no repo.
        _ if db::is_lock_timeout(error) => Failure::Overloaded,
        sqlx::Error::Database(database) => match database.code().as_deref() {
            // Serialization failure, deadlock.
            Some("40001" | "40P01") => Failure::Sacrificed,
            // Statement time-out.
            Some("57014") => Failure::Overloaded,
            // Out of memory, disk or connections.
            Some(code) if code.starts_with("53") => Failure::Overloaded,
            _ => refused(),
        },
        // Before it was sent.
        sqlx::Error::Encode(_) => refused(),
        _ => Failure::Lost,
    }
}
