//! Background work that all workers share: who is alive, what is to be done once (the queue, [`Job`]), and what comes round.
//!
//! Owns `worker_lease`, `job` and `job_schedule`. A worker enters itself and renews its lease, and with it its claims. If it
//! dies, they run out and others may claim. A worker that could not renew its lease stops what it does before that
//! ([`Worker::expires`] tells when), so nothing runs twice at a time.
//!
//! Postgres's clock decides, never a worker's: the clocks of machines differ. Runs are idempotent all the same, because
//! a worker can stop for any length of time between two instructions.

mod queue;
mod store;

use std::time::Duration;

pub use queue::{Claim, Filter, Job, Letter, Outcome, Policy, QueueDepth, State, enqueue, enqueue_in};
use tokio::time::Instant;

use crate::db::PgPool;

/// How long a lease lasts if nobody renews it.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a worker renews its lease.
pub const RENEWAL: Duration = Duration::from_secs(8);

/// Jobs and schedules.
#[derive(Clone, Debug)]
pub struct Jobs {
    pool: PgPool,
}

/// A worker that entered itself.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    id: i64,
    expires: Instant,
}

impl Worker {
    /// When the lease is over, unless it is renewed: a little sooner than Postgres thinks.
    pub fn expires(&self) -> Instant {
        self.expires
    }
}

/// How a run of a schedule ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending<'a> {
    /// It did what it says.
    Done(&'a str),
    /// It failed, and says why.
    Failed(&'a str),
}

impl Jobs {
    /// The jobs in this database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Enters a worker, under a name for people. Workers whose lease is long over are forgotten.
    pub async fn enter(&self, name: &str) -> sqlx::Result<Worker> {
        let mut conn = self.pool.acquire().await?;
        let expires = Instant::now() + LEASE;
        store::delete_expired(&mut conn).await?;
        let id = store::insert_worker(&mut conn, name, None, LEASE).await?;
        Ok(Worker { id, expires })
    }

    /// Enters a worker anew that has lost its lease. Nothing that it claimed is its own any more, but it started when it did
    /// for the first time, unless that was forgotten.
    pub async fn enter_again(&self, name: &str, lost: Worker) -> sqlx::Result<Worker> {
        let mut conn = self.pool.acquire().await?;
        let expires = Instant::now() + LEASE;
        let mut transaction = conn.begin().await?;
        let started_at = store::delete_worker(&mut transaction, lost.id).await?;
        let id = store::insert_worker(&mut transaction, name, started_at, LEASE).await?;
        transaction.commit().await?;
        Ok(Worker { id, expires })
    }

    /// Renews a worker's lease; `None` if it was over already. Then nothing is the worker's any more: it enters itself
    /// anew.
    pub async fn renew(&self, worker: Worker) -> sqlx::Result<Option<Worker>> {
        let mut conn = self.pool.acquire().await?;
        let expires = Instant::now() + LEASE;
        let is_renewed = store::renew_worker(&mut conn, worker.id, LEASE).await?;
        Ok(is_renewed.then_some(Worker { expires, ..worker }))
    }

    /// Takes a worker off the list, and frees what it claimed.
    pub async fn leave(&self, worker: Worker) -> sqlx::Result<()> {
        store::delete_worker(&mut *self.pool.acquire().await?, worker.id).await?;
        Ok(())
    }

    /// Makes schedules known that are not yet; they are due at once.
    pub async fn ensure_schedules(&self, names: &[&str]) -> sqlx::Result<()> {
        store::insert_schedules(&mut *self.pool.acquire().await?, names).await
    }

    /// Claims a schedule among `names` that is due and that nobody runs; `None` if there is none.
    pub async fn claim_schedule(&self, worker: Worker, names: &[&str]) -> sqlx::Result<Option<String>> {
        store::claim_schedule(&mut *self.pool.acquire().await?, worker.id, names, LEASE).await
    }

    /// Gives a claimed schedule back, to be run again after `pause`. Does nothing if it is no longer the worker's.
    pub async fn finish_schedule(
        &self,
        worker: Worker,
        name: &str,
        ending: Ending<'_>,
        pause: Duration,
    ) -> sqlx::Result<()> {
        let mut conn = self.pool.acquire().await?;
        store::finish_schedule(&mut conn, worker.id, name, ending, pause).await
    }

    /// How often a schedule failed in a row up to now.
    pub async fn failures(&self, name: &str) -> sqlx::Result<u32> {
        let failures = store::find_failures(&mut *self.pool.acquire().await?, name).await?;
        Ok(failures.and_then(|failures| u32::try_from(failures).ok()).unwrap_or(0))
    }

    /// Makes a schedule due now.
    pub async fn hasten(&self, name: &str) -> sqlx::Result<()> {
        store::hasten_schedule(&mut *self.pool.acquire().await?, name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestDb, lapse_lease};

    const NAMES: [&str; 2] = ["one", "two"];

    async fn two_workers(db: &TestDb) -> (Jobs, Worker, Worker) {
        let jobs = Jobs::new(db.pool());
        let workers = (jobs.enter("first").await.unwrap(), jobs.enter("second").await.unwrap());
        jobs.ensure_schedules(&NAMES).await.unwrap();
        jobs.ensure_schedules(&NAMES).await.unwrap();
        (jobs, workers.0, workers.1)
    }

    #[tokio::test]
    async fn a_schedule_is_claimed_once_until_it_is_given_back_and_due_again() {
        let db = TestDb::create().await;
        let (jobs, first, second) = two_workers(&db).await;
        let mut claimed = [
            jobs.claim_schedule(first, &NAMES).await.unwrap().unwrap(),
            jobs.claim_schedule(second, &NAMES).await.unwrap().unwrap(),
        ];
        claimed.sort();
        assert_eq!(claimed, NAMES);
        assert_eq!(jobs.claim_schedule(first, &NAMES).await.unwrap(), None);

        for worker in [first, second] {
            // Only for its own does this do anything.
            jobs.finish_schedule(worker, "one", Ending::Failed("no"), Duration::ZERO).await.unwrap();
        }
        assert_eq!(jobs.failures("one").await.unwrap(), 1);
        assert_eq!(jobs.claim_schedule(second, &NAMES).await.unwrap().as_deref(), Some("one"));
        jobs.finish_schedule(second, "one", Ending::Done("yes"), Duration::from_hours(1)).await.unwrap();
        assert_eq!(jobs.failures("one").await.unwrap(), 0);
        assert_eq!(jobs.claim_schedule(second, &NAMES).await.unwrap(), None);
        jobs.hasten("one").await.unwrap();
        assert_eq!(jobs.claim_schedule(second, &["two"]).await.unwrap(), None, "only what it asks for");
        assert_eq!(jobs.claim_schedule(second, &NAMES).await.unwrap().as_deref(), Some("one"));
    }

    #[tokio::test]
    async fn what_a_dead_worker_claimed_is_free_again() {
        let db = TestDb::create().await;
        let (jobs, dead, alive) = two_workers(&db).await;
        assert!(jobs.claim_schedule(dead, &["one"]).await.unwrap().is_some());
        assert_eq!(jobs.claim_schedule(alive, &["one"]).await.unwrap(), None);
        lapse_lease(&db.pool(), "first").await;
        assert!(jobs.claim_schedule(dead, &["two"]).await.unwrap().is_none(), "without a lease nothing is claimed");
        assert!(jobs.renew(dead).await.unwrap().is_none());
        assert!(jobs.claim_schedule(alive, &["one"]).await.unwrap().is_some());
        jobs.finish_schedule(dead, "one", Ending::Done("late"), Duration::ZERO).await.unwrap();
        assert_eq!(jobs.claim_schedule(dead, &NAMES).await.unwrap(), None);
        assert!(jobs.renew(alive).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn who_leaves_frees_what_it_claimed() {
        let db = TestDb::create().await;
        let (jobs, first, second) = two_workers(&db).await;
        assert!(jobs.claim_schedule(first, &["one"]).await.unwrap().is_some());
        jobs.leave(first).await.unwrap();
        assert!(jobs.claim_schedule(second, &["one"]).await.unwrap().is_some());
    }
}
