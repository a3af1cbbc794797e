//! The sequencer's log: every event of every repo on this server, numbered without gaps, as `subscribeRepos` sends it.
//!
//! Owns `sequencer` and `repo_event`. Nothing is appended through this module: events are numbered inside the statement
//! that causes them, by the SQL function `event_append_v1`, under the lock of the one `sequencer` row. So whoever sees
//! event *n* sees every event below *n*, and a reader needs nothing but `seq > $1 ORDER BY seq`.

pub mod admin;
mod store;
mod tail;

use atproto::event::Kind;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
pub use tail::Wakeups;

/// The stream position before the first event.
pub const START: i64 = 0;

/// Bytes of bodies in one page, give or take an event. Most events have some thousand, but one may have two million.
const PAGE_BYTES: usize = 1024 * 1024;

/// An event as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its number, from 1.
    pub seq: i64,
    /// Its kind.
    pub kind: Kind,
    /// DAG-CBOR of the body without `seq`.
    pub body: Vec<u8>,
}

/// Events that follow each other in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The events, by rising seq. There may be gaps: the events of deleted accounts are gone.
    pub events: Vec<StoredEvent>,
    /// True if the page is full, so that more may follow; else the log ends, or ended, with this page.
    pub is_full: bool,
}

/// Reads the log.
#[derive(Clone, Debug)]
pub struct Sequencer {
    pool: PgPool,
}

impl Sequencer {
    /// A reader of the log in this database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The newest seq; [`START`] if there is no event yet.
    pub async fn newest(&self) -> sqlx::Result<i64> {
        store::find_newest(&mut *self.pool.acquire().await?).await
    }

    /// A page of events in order, from after `seq`: at most `limit`, and fewer if they are large.
    pub async fn list_after(&self, seq: i64, limit: u16) -> sqlx::Result<Page> {
        let mut conn = self.pool.acquire().await?;
        let bytes = i64::try_from(PAGE_BYTES).unwrap_or(i64::MAX);
        let events = store::list_after(&mut conn, seq, i64::from(limit), bytes).await?;
        let bytes: usize = events.iter().map(|event| event.body.len()).sum();
        let is_full = events.len() >= usize::from(limit) || bytes >= PAGE_BYTES;
        Ok(Page { events, is_full })
    }

    /// When the first event after `seq` was numbered; `None` if there is none.
    pub async fn find_time_after(&self, seq: i64) -> sqlx::Result<Option<DateTime<Utc>>> {
        store::find_time_after(&mut *self.pool.acquire().await?, seq).await
    }

    /// The first seq numbered at `time` or later; `None` if there is none.
    pub async fn find_first_since(&self, time: DateTime<Utc>) -> sqlx::Result<Option<i64>> {
        store::find_first_since(&mut *self.pool.acquire().await?, time).await
    }

    /// Listens for new events.
    pub fn wakeups(&self) -> Wakeups {
        Wakeups::new(self.pool.clone())
    }
}
