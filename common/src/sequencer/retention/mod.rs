//! Partitions of the log: made ahead of need, dropped once all their events are old.
//!
//! See the [module above](super) for why. One run looks, decides ([`Plan`], pure), and acts in steps of one short
//! transaction each; a run that dies in the middle leaves nothing that the next one does not finish.

mod plan;
mod store;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tracing::warn;

use self::plan::{Plan, State, range};
pub(super) use self::store::make_partition;
use super::window_start;
use crate::db::PgPool;

/// Tries of a step whose locks are taken, in one run.
const TRIES: u32 = 20;
/// Pause between two of them: those who had to queue up behind us come first.
const PAUSE: Duration = Duration::from_millis(100);
/// Events deleted from the default partition by one statement.
const DELETE_STEP: i64 = 5_000;
/// Over which time the present rate of events is taken.
const RECENTLY: Duration = Duration::from_mins(10);

/// What a run did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// Partitions made, as ranges of seqs from the first to before the second.
    pub made: Vec<(i64, i64)>,
    /// Partitions dropped, likewise.
    pub dropped: Vec<(i64, i64)>,
    /// Old events deleted that no partition had been there for.
    pub deleted: u64,
    /// Partitions that could not be made or dropped because their locks were taken all the time; the next run tries
    /// again.
    pub postponed: usize,
    /// How many events the partitions have room for, beyond the newest.
    pub room: i64,
    /// Whether the default partition holds events. It should not for long.
    pub has_caught: bool,
}

impl fmt::Display for Retained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, ranges) in [("made", &self.made), ("dropped", &self.dropped)] {
            for (lower, upper) in ranges {
                write!(f, "{what} the partition from {lower} to {}; ", upper - 1)?;
            }
        }
        if self.deleted > 0 {
            write!(f, "deleted {} old events from the default partition; ", self.deleted)?;
        }
        if self.postponed > 0 {
            write!(f, "left {} partitions to the next run, their locks being taken; ", self.postponed)?;
        }
        write!(f, "room for {} events", self.room)?;
        if self.has_caught { write!(f, ", and some in the default partition") } else { Ok(()) }
    }
}

impl Retained {
    /// Whether there is something that an operator may want to read.
    pub fn is_news(&self) -> bool {
        self.deleted > 0 || self.postponed > 0 || !self.made.is_empty() || !self.dropped.is_empty()
    }
}

/// Looks, decides and acts.
pub(super) async fn run(pool: &PgPool, now: DateTime<Utc>, window: Duration) -> sqlx::Result<Retained> {
    let state = look(pool, now, window).await?;
    let plan = Plan::make(&state);
    let mut done = Retained { room: state.room(), has_caught: state.caught.is_some(), ..Retained::default() };
    for (lower, upper) in plan.make {
        if patiently(pool, Step::Make(lower, upper)).await? {
            done.room += upper - lower;
            done.made.push((lower, upper));
        } else {
            // The next one would leave a hole for the default partition to catch.
            done.postponed += 1;
            break;
        }
    }
    if let Some(floor) = plan.floor {
        store::raise_floor(&mut *pool.acquire().await?, floor).await?;
    }
    for partition in plan.drop {
        if patiently(pool, Step::Drop(&partition.name)).await? {
            done.dropped.push(range(&partition));
        } else {
            done.postponed += 1;
        }
    }
    if let Some(before) = plan.delete_before {
        done.deleted = delete_caught(pool, before).await?;
    }
    Ok(done)
}

async fn look(pool: &PgPool, now: DateTime<Utc>, window: Duration) -> sqlx::Result<State> {
    let mut conn = pool.acquire().await?;
    let newest = super::store::find_newest(&mut conn).await?;
    let window_first = first_within(&mut conn, now, window).await?;
    let recent_first = first_within(&mut conn, now, RECENTLY).await?;
    // A subscriber may be slow on its way through the window, and the clocks of replicas differ a little.
    let keep_first = first_within(&mut conn, now, window.saturating_add(window / 4)).await?;
    Ok(State {
        newest,
        in_window: (newest - window_first + 1).max(0),
        recently: (newest - recent_first + 1).max(0),
        keep_from: keep_first.min(newest + 1),
        partitions: store::list_partitions(&mut conn).await?,
        caught: store::find_caught(&mut conn).await?,
    })
}

/// The first seq of so long ago or later; beyond all if there is none.
async fn first_within(conn: &mut PgConnection, now: DateTime<Utc>, time: Duration) -> sqlx::Result<i64> {
    let first = super::store::find_first_since(conn, window_start(now, time)).await?;
    Ok(first.unwrap_or(i64::MAX))
}

/// A change of the partitions.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// Make one, from the first seq to before the second.
    Make(i64, i64),
    /// Drop the one of this name.
    Drop(&'a str),
}

/// Takes a step once its locks are free; false if they never were.
async fn patiently(pool: &PgPool, step: Step<'_>) -> sqlx::Result<bool> {
    for _ in 0..TRIES {
        let taken = match step {
            Step::Make(lower, upper) => store::make_partition(pool, lower, upper).await,
            Step::Drop(name) => store::drop_partition(pool, name).await,
        };
        match taken {
            Ok(()) => return Ok(true),
            Err(error) if is_in_the_way(&error) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
    warn!("gave up on a partition of the log for now: its locks are taken all the time");
    Ok(false)
}

/// True if somebody else held a lock for too long, made the same partition, or caused events where it was to be. None
/// of this is an error.
///
/// Source: the PostgreSQL manual, appendix A: `lock_not_available`, `deadlock_detected`, `query_canceled`,
/// `check_violation`, `duplicate_table` (or `unique_violation` in the catalog, if it was at the same moment),
/// `invalid_object_definition`.
fn is_in_the_way(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("55P03" | "40P01" | "57014" | "23514" | "42P07" | "23505" | "42P17"))
}

async fn delete_caught(pool: &PgPool, before: i64) -> sqlx::Result<u64> {
    let mut deleted = 0;
    loop {
        let step = store::delete_caught(&mut *pool.acquire().await?, before, DELETE_STEP).await?;
        deleted += step;
        if step == 0 {
            return Ok(deleted);
        }
    }
}

#[cfg(test)]
mod tests;
