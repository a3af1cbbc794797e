//! The operator's view of the log, and the one thing an operator may change in it: the next number.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::db::PgPool;

/// The largest number that subscribers in every language can read: 2⁵³ − 1.
pub const MAX_SEQ: i64 = (1 << 53) - 1;

/// Numbers of a partition that is made for a jump. The worker makes those that follow, by need.
const PARTITION: i64 = 100_000;

/// Over how many minutes the rate of events is told.
const RATES: [i64; 3] = [1, 5, 15];

/// An event of which only number and time matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Mark {
    /// Its number.
    pub seq: i64,
    /// When it was numbered.
    pub at: DateTime<Utc>,
}

/// How many events came lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Rate {
    /// Over how many minutes.
    pub minutes: i64,
    /// Numbers given in that time.
    pub events: i64,
}

/// A part of the table of events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Partition {
    /// Its table.
    pub name: String,
    /// Its first number; `None` for the default partition, which takes what no other does.
    pub lower: Option<i64>,
    /// The number after its last.
    pub upper: Option<i64>,
    /// Events in it: exact but for numbers that were left out.
    pub events: i64,
    /// Bytes on disk, with indexes.
    pub bytes: i64,
}

/// How the log is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The newest number.
    pub last_seq: i64,
    /// The oldest event that is kept.
    pub oldest: Option<Mark>,
    /// The newest event.
    pub newest: Option<Mark>,
    /// Events in the log: exact but for numbers that were left out.
    pub events: i64,
    /// Where the window begins that a cursor may reach back to; `None` if there is no event in it.
    pub window_start: Option<i64>,
    /// Events lately.
    pub rates: Vec<Rate>,
    /// The partitions, the default one last.
    pub partitions: Vec<Partition>,
    /// Numbers to come that have a partition already.
    pub room: i64,
    /// What may hold the stream up.
    pub hints: Hints,
}

/// What may hold the stream up.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hints {
    /// Sessions of this database that wait for a lock now. A few at a time are normal: writers take turns.
    pub waiting_sessions: i64,
    /// Age in seconds of the oldest transaction in this database. Minutes mean that something is stuck.
    pub oldest_transaction_seconds: f64,
    /// How full Postgres's queue of notifications is, from 0 to 1. It fills when a listener is stuck in a transaction.
    pub notification_queue: f64,
}

/// How far to move the number ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ahead {
    /// By so many.
    By(i64),
    /// To this one: the next event has the one after it.
    To(i64),
}

/// What a move came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// The newest number before.
    pub before: i64,
    /// The newest number now; nobody was given those between.
    pub after: i64,
}

/// Why the number was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// It would go back, or stay: a number would be given twice.
    #[error("the newest seq is {newest} already: it may only be moved ahead, never back to {to}")]
    Backwards {
        /// The newest number.
        newest: i64,
        /// Where it was to go.
        to: i64,
    },
    /// Subscribers could not read such numbers.
    #[error("seq {0} is too large: many subscribers can read numbers up to {MAX_SEQ} only")]
    TooLarge(i64),
    /// Postgres failed.
    #[error("event storage failed")]
    Storage(#[from] sqlx::Error),
}

/// The operator's hand on the log.
#[derive(Clone, Debug)]
pub struct Admin {
    pool: PgPool,
}

impl Admin {
    /// For the log in this database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// How the log is at `now`, for a window of `window_millis`. Reads the ends of each partition, not the events.
    pub async fn status(&self, now: DateTime<Utc>, window: TimeDelta) -> sqlx::Result<Status> {
        let mut conn = self.pool.acquire().await?;
        let last_seq = super::store::find_newest(&mut conn).await?;
        let mut rates = Vec::with_capacity(RATES.len());
        for minutes in RATES {
            let first = super::store::find_first_since(&mut conn, now - TimeDelta::minutes(minutes)).await?;
            rates.push(Rate { minutes, events: first.map_or(0, |first| last_seq - first + 1) });
        }
        let window_start = now.checked_sub_signed(window).unwrap_or(DateTime::UNIX_EPOCH);
        let partitions = store::list_partitions(&mut conn).await?;
        Ok(Status {
            last_seq,
            oldest: store::find_oldest(&mut conn).await?,
            newest: store::find_newest_mark(&mut conn).await?,
            events: partitions.iter().map(|partition| partition.events).sum(),
            window_start: super::store::find_first_since(&mut conn, window_start).await?,
            rates,
            room: room(last_seq, &partitions),
            partitions,
            hints: store::find_hints(&mut conn).await?,
        })
    }

    /// Moves the newest number ahead, in one statement: writers go on before and after it.
    ///
    /// For a database that came back from a backup: numbers that were sent before must not be given to other events, for
    /// subscribers that saw them would take the new events for old ones and pass over them. A gap is nothing to them.
    ///
    /// A partition for the next numbers is made first, if there is none.
    pub async fn move_ahead(&self, ahead: Ahead) -> Result<Moved, MoveError> {
        let newest = super::store::find_newest(&mut *self.pool.acquire().await?).await?;
        let to = match ahead {
            Ahead::By(by) => newest.saturating_add(by),
            Ahead::To(to) => to,
        };
        if to > MAX_SEQ {
            return Err(MoveError::TooLarge(to));
        }
        if to <= newest {
            return Err(MoveError::Backwards { newest, to });
        }
        self.make_room(to).await?;
        // Others may have been numbered since. What was asked for still holds, or it is refused.
        let mut conn = self.pool.acquire().await?;
        let moved = match ahead {
            Ahead::By(by) => store::move_by(&mut conn, by, MAX_SEQ).await?,
            Ahead::To(to) => store::move_to(&mut conn, to).await?,
        };
        let Some(moved) = moved else {
            let newest = super::store::find_newest(&mut conn).await?;
            return Err(MoveError::Backwards { newest, to });
        };
        Ok(moved)
    }
}

impl Admin {
    /// Makes a partition that begins after `last`, if there is none there: else the next events would go to the default
    /// partition, and stand in the way of one that is made later.
    async fn make_room(&self, last: i64) -> sqlx::Result<()> {
        let partitions = store::list_partitions(&mut *self.pool.acquire().await?).await?;
        if room(last, &partitions) > 0 {
            return Ok(());
        }
        let lower = last + 1;
        let next = partitions.iter().filter_map(|partition| partition.lower).find(|next| *next > last);
        let upper = next.unwrap_or(i64::MAX).min(lower + PARTITION);
        super::retention::make_partition(&self.pool, lower, upper).await
    }
}

/// Numbers after `last_seq` that have a partition, without a hole.
fn room(last_seq: i64, partitions: &[Partition]) -> i64 {
    let mut end = last_seq + 1;
    for partition in partitions {
        if let (Some(lower), Some(upper)) = (partition.lower, partition.upper)
            && lower <= end
        {
            end = end.max(upper);
        }
    }
    end - last_seq - 1
}
