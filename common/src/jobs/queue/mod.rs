//! Work to be done once.
//!
//! A [`Job`] is enqueued in the transaction of its cause ([`enqueue`]): either both happen or neither. Any worker claims
//! it, does it, and removes it. What fails is tried again, each time after a longer pause, as its [`Policy`] says; what
//! failed too often waits as a *dead letter* for an operator, who has it tried again or discards it ([`Filter`]).
//!
//! # Keys
//!
//! A job may have a key. Jobs of one kind and key are one while they wait: enqueuing another gives the waiting one the new
//! payload and a fresh start. One that runs already does not count, since it may have looked before the new cause; the new
//! one waits until it is done, so of one key only one runs at a time. A transaction that enqueues several jobs with keys
//! does so in the order of their kinds and keys, lest two such transactions wait for each other.
//!
//! # Promises
//!
//! A job is done at least once. It may be begun again after it was dropped at any point, or after it was done and its worker
//! died before saying so. What it does must bear that, and must look at the state as it is then, not as it was when the job
//! was enqueued.

mod inspect;
mod policy;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::PgConnection;

pub use inspect::{Filter, Letter, QueueDepth, State};
pub use policy::Policy;

use super::{Jobs, LEASE, Worker};
use crate::db::Wakeups;

/// The channel `job_enqueue_v1` notifies.
const CHANNEL: &str = "job";

/// Work to be done once: what it needs to know. Ids, never secrets, and not much. Anybody may read it in the database.
///
/// The contract is shared by releases: a field that is added later is optional.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of this kind of work: in the rows, and a label of metrics. Never changed.
    const KIND: &'static str;

    /// How often it is tried.
    const POLICY: Policy = Policy::STANDARD;

    /// Jobs with one key are one while it waits.
    fn dedupe_key(&self) -> Option<String> {
        None
    }
}

/// Enqueues a job, to be done as soon as the caller's transaction is committed.
///
/// # Errors
/// If Postgres refuses.
pub async fn enqueue<J: Job>(conn: &mut PgConnection, job: &J) -> sqlx::Result<()> {
    enqueue_in(conn, job, Duration::ZERO).await
}

/// Enqueues a job, to be done after `delay`. One of the same key that waits already is done when the first of the two is due.
///
/// # Errors
/// If Postgres refuses.
pub async fn enqueue_in<J: Job>(conn: &mut PgConnection, job: &J, delay: Duration) -> sqlx::Result<()> {
    let payload = serde_json::to_value(job).map_err(|error| sqlx::Error::Encode(error.into()))?;
    store::enqueue(conn, J::KIND, &payload, job.dedupe_key().as_deref(), delay).await
}

/// A job that a worker has claimed.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// The job's number.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// The job as JSON.
    pub payload: Value,
    /// How often it was begun, this time included.
    pub attempts: u32,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
}

/// How a job's run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// It is done.
    Done,
    /// It failed for this reason, and is to be tried again after the pause.
    Retry(&'a str, Duration),
    /// It failed for this reason, and is not to be tried again.
    Dead(&'a str),
}

impl Jobs {
    /// Enqueues a job that has no cause in the database.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub async fn enqueue<J: Job>(&self, job: &J) -> sqlx::Result<()> {
        enqueue(&mut *self.pool.acquire().await?, job).await
    }

    /// Claims a job that is due and that nobody does; `None` if there is none. Earlier kinds come first.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub async fn claim_job(&self, worker: Worker, kinds: &[&str]) -> sqlx::Result<Option<Claim>> {
        store::claim(&mut *self.pool.acquire().await?, worker.id, kinds, LEASE).await
    }

    /// Ends a claim. Does nothing if the job is no longer the worker's.
    ///
    /// # Errors
    /// If Postgres refuses; the claim runs out.
    pub async fn finish_job(&self, worker: Worker, id: i64, outcome: Outcome<'_>) -> sqlx::Result<()> {
        let mut conn = self.pool.acquire().await?;
        match outcome {
            Outcome::Done => store::delete_done(&mut conn, worker.id, id).await,
            Outcome::Dead(reason) => store::update_dead(&mut conn, worker.id, id, reason).await,
            Outcome::Retry(reason, pause) => loop {
                match store::update_waiting(&mut conn, worker.id, id, reason, pause).await {
                    // One of the same key was enqueued at this moment: now it is there to be seen.
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                    ended => return ended,
                }
            },
        }
    }

    /// Listens for new jobs, and wakes after `poll` in any case.
    pub fn wakeups(&self, poll: Duration) -> Wakeups {
        Wakeups::new(&self.pool, CHANNEL, poll)
    }
}
