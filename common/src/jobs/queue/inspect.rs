//! What operators see and do.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::super::Jobs;
use super::store;

/// A job as an operator sees it.
#[derive(Clone, PartialEq, Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Its number.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// Whether it waits, runs, or was given up.
    pub state: State,
    /// The job as JSON.
    pub payload: Value,
    /// Its key, if it has one.
    pub dedupe_key: Option<String>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it is due.
    pub run_at: DateTime<Utc>,
    /// How often it was begun.
    pub attempts: i32,
    /// The worker that does it.
    pub worker: Option<String>,
    /// Why it failed the last time.
    pub last_error: Option<String>,
    /// When that was.
    pub failed_at: Option<DateTime<Utc>>,
}

/// Where a job is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is due, or will be.
    Waiting,
    /// A worker does it.
    Running,
    /// It failed too often: a dead letter.
    Dead,
}

impl State {
    pub(super) fn of(is_dead: bool, is_running: bool) -> Self {
        match (is_dead, is_running) {
            (true, _) => Self::Dead,
            (false, true) => Self::Running,
            (false, false) => Self::Waiting,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// Which jobs.
#[derive(Clone, Copy, Default, Debug)]
pub struct Filter<'a> {
    /// The job of this number.
    pub id: Option<i64>,
    /// Those of this kind.
    pub kind: Option<&'a str>,
    /// Dead letters only.
    pub dead: bool,
}

/// The jobs of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueDepth {
    /// The kind.
    pub kind: String,
    /// Those that are due or will be.
    pub waiting: i64,
    /// Those that a worker does.
    pub running: i64,
    /// Dead letters.
    pub dead: i64,
    /// For how many seconds the oldest has been due that nobody does yet; 0 if there is none.
    pub overdue_seconds: i64,
}

impl Jobs {
    /// A page of jobs by number, after the job `after`.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub async fn list_jobs(&self, filter: Filter<'_>, after: i64, limit: u16) -> sqlx::Result<Vec<Letter>> {
        store::list(&mut *self.pool.acquire().await?, filter, after, limit).await
    }

    /// Makes dead letters due, with all their tries before them, and waiting jobs due now; gives how many. Of several dead
    /// letters with one key only the newest is left, and none if such a job waits already.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub async fn retry_jobs(&self, filter: Filter<'_>) -> sqlx::Result<u64> {
        let mut conn = self.pool.acquire().await?;
        loop {
            match store::revive(&mut conn, filter).await {
                // One of the same key was enqueued at this moment: now it is there to be seen.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                ended => return ended,
            }
        }
    }

    /// Removes a job that no worker does; false if there is none.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub async fn discard_job(&self, id: i64) -> sqlx::Result<bool> {
        store::delete_idle(&mut *self.pool.acquire().await?, id).await
    }

    /// How many jobs there are, by kind.
    ///
    /// # Errors
    /// If Postgres refuses.
    pub async fn depths(&self) -> sqlx::Result<Vec<QueueDepth>> {
        store::list_depths(&mut *self.pool.acquire().await?).await
    }
}
