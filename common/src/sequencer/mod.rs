//! The sequencer's log: every event of every repo on this server, numbered without gaps, as `subscribeRepos` sends it.
//!
//! Owns `sequencer` (one row: the newest seq, and where the log begins) and `repo_event`. Nothing is appended through
//! this module: events are numbered inside the statement that causes them.
//!
//! # Numbering
//!
//! Whoever appends updates the one row of `sequencer` (`last_seq = last_seq + n … RETURNING`), numbers its *n* events
//! downwards from what it got, inserts them, and notifies the channel `repo_event`: the SQL function `event_append_v1`
//! and its successors, called **last** in a statement that runs in autocommit. The row stays locked from the update to
//! the commit. Hence
//!
//! * seqs become visible in order: whoever sees event *n* sees everything below *n* that is not gone for good;
//! * there is no gap: a statement that fails rolls its number back;
//! * `last_seq` and the events of a statement become visible together;
//! * a reader needs nothing but `seq > $1 ORDER BY seq`.
//!
//! To keep this true: take the row after every other lock (repos first, by id), never hold it across a round trip, and
//! never hand a seq out by a Postgres sequence, which knows no order of commits. After a restore from a backup
//! `last_seq` must be raised above whatever was ever sent: a seq is never used twice.
//!
//! # Reading
//!
//! [`Sequencer::list_after`] gives pages, bounded by events and by bytes. They are read over connections of their own
//! ([`CONNECTIONS`] at most, opened when needed): the stream goes on while requests hold every other connection.
//! Plans are generic and made once, as in all our sessions: partitions outside of the range are left out when the
//! statement starts (`Subplans Removed` in EXPLAIN), not by planning each page again.
//!
//! [`Wakeups`] says when to look: on a notification, and every second in any case, since notifications get lost with a
//! connection and do not come at all through some poolers. A notification carries no data; what counts is the log.
//!
//! A kind of event that this release does not know is left out of a page, but counts for its end: during a rolling
//! upgrade the old replicas pass over the new kinds instead of stopping there.
//!
//! # The window, and retention
//!
//! A cursor may reach back as far as `PDS_REPO_BACKFILL_LIMIT_MS`. Events older than that, and some slack, are dropped
//! by [`Sequencer::retain`], which a worker calls every minute:
//!
//! * `repo_event` is partitioned by seq. A partition goes as a whole once all its events are old. So a partition should
//!   span a quarter of the window at the present rate: partitions are made ahead of need, sized by the rate.
//! * The default partition catches what no other takes, so that a worker that is late never stops a write. What is
//!   caught there is deleted in small steps when it is old.
//! * `floor_seq` is raised **before** anything is dropped: no event from it on is missing because of its age. Whoever
//!   asks for older ones is told so by `OutdatedCursor` instead of being given a stream with a hole.
//! * Where the window begins is found by halving the log ([`Sequencer::find_first_since`]): times rise with seqs,
//!   because they are taken under the lock of the row. So no index on the time has to be kept up by every write.
//!
//! Locks: making a partition lets appends go on, but needs the default partition, which every read looks at, for itself
//! for a moment. Dropping one so needs all of `repo_event`. Either waits for that [no longer than a tenth of a
//! second](retention), since everybody else queues up behind it, and tries again later.

pub mod admin;
mod retention;
mod store;

use std::time::Duration;

use atproto::event::Kind;
use chrono::{DateTime, TimeDelta, Utc};
pub use retention::Retained;
use tracing::debug;

use crate::db::PgPool;
pub use crate::db::Wakeups;

/// The channel `event_append_v1` notifies.
const CHANNEL: &str = "repo_event";
/// How long to wait without news before looking anyway.
const POLL: Duration = Duration::from_secs(1);

/// The stream position before the first event.
pub const START: i64 = 0;

/// Connections for the log at most: the tail's, its notifications', and some for pages of backfill.
pub const CONNECTIONS: u32 = 6;

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

/// How much to read at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageLimit {
    /// Events.
    pub events: u16,
    /// Bytes of bodies, give or take an event. Most events have some thousand, but one may have two million.
    pub bytes: u32,
}

impl PageLimit {
    /// So many events, within a megabyte.
    pub const fn of(events: u16) -> Self {
        Self { events, bytes: 1024 * 1024 }
    }
}

/// Events that follow each other in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The events, by rising seq. There may be gaps: the events of deleted accounts are gone, and kinds that this
    /// release does not know are left out.
    pub events: Vec<StoredEvent>,
    /// The stream position after the page.
    pub end: i64,
    /// True if the page is full, so that more may follow; else the log ends, or ended, with this page.
    pub is_full: bool,
}

impl Page {
    fn new(after: i64, rows: Vec<store::Row>, limit: PageLimit) -> Self {
        let bytes: usize = rows.iter().map(|row| row.body.len()).sum();
        let is_full = rows.len() >= usize::from(limit.events) || bytes as u64 >= u64::from(limit.bytes);
        let end = rows.last().map_or(after, |row| row.seq);
        Self { events: rows.into_iter().filter_map(known).collect(), end, is_full }
    }
}

fn known(row: store::Row) -> Option<StoredEvent> {
    let kind = Kind::from_name(&row.kind);
    if kind.is_none() {
        debug!(seq = row.seq, kind = row.kind, "passing over an event of an unknown kind");
    }
    Some(StoredEvent { seq: row.seq, kind: kind?, body: row.body })
}

/// Where a cursor is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The newest seq; [`START`] if there is no event yet.
    pub newest: i64,
    /// No event from this seq on is missing because of its age.
    pub floor: i64,
    /// When the first event after the cursor was numbered; `None` if there is none.
    pub next_time: Option<DateTime<Utc>>,
}

/// When a backfill window begins that ends `now`; never before 1970, however long it is.
pub fn window_start(now: DateTime<Utc>, window: Duration) -> DateTime<Utc> {
    let start = TimeDelta::from_std(window).ok().and_then(|window| now.checked_sub_signed(window));
    start.unwrap_or_default().max(DateTime::UNIX_EPOCH)
}

/// The log: reads it, and drops what is old.
#[derive(Clone, Debug)]
pub struct Sequencer {
    log: PgPool,
}

impl Sequencer {
    /// The log in the database of `pool`, by connections of its own.
    pub fn new(pool: &PgPool) -> Self {
        Self { log: pool.apart(CONNECTIONS - 1) }
    }

    /// The newest seq; [`START`] if there is no event yet.
    pub async fn newest(&self) -> sqlx::Result<i64> {
        store::find_newest(&mut *self.log.acquire().await?).await
    }

    /// No event from this seq on is missing because of its age.
    pub async fn floor(&self) -> sqlx::Result<i64> {
        store::find_floor(&mut *self.log.acquire().await?).await
    }

    /// A page of events in order, from after `seq`.
    pub async fn list_after(&self, seq: i64, limit: PageLimit) -> sqlx::Result<Page> {
        let rows = store::list_after(&mut *self.log.acquire().await?, seq, limit).await?;
        Ok(Page::new(seq, rows, limit))
    }

    /// Where the log stands, seen from a cursor.
    pub async fn locate(&self, cursor: i64) -> sqlx::Result<Place> {
        store::locate(&mut *self.log.acquire().await?, cursor).await
    }

    /// The first seq numbered at `time` or later; `None` if there is none. Exact but for clocks set back.
    pub async fn find_first_since(&self, time: DateTime<Utc>) -> sqlx::Result<Option<i64>> {
        store::find_first_since(&mut *self.log.acquire().await?, time).await
    }

    /// Makes partitions that will be needed, and drops what is older than `window` and some slack.
    ///
    /// Safe to run at any time, also twice at once; what it cannot lock is left to the next run.
    pub async fn retain(&self, now: DateTime<Utc>, window: Duration) -> sqlx::Result<Retained> {
        retention::run(&self.log, now, window).await
    }

    /// Listens for new events.
    pub fn wakeups(&self) -> Wakeups {
        Wakeups::new(&self.log, CHANNEL, POLL)
    }

    /// Closes its connections. What reads now is waited for.
    pub async fn close(&self) {
        self.log.close().await;
    }
}
