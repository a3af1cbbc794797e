//! Where in the stream a subscriber begins.

use common::db;

use super::Firehose;

/// The answer to a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// Send what follows this position.
    After(i64),
    /// Say that older events are gone, then send what follows this position.
    Outdated(i64),
    /// The cursor is ahead of the stream.
    Future,
}

/// Finds the position for a cursor; without one, the stream begins now.
///
/// Asks Postgres, not this replica's tail: another replica may have given out a newer seq.
///
/// Source: com.atproto.sync.subscribeRepos, `cursor`.
pub(super) async fn find(firehose: &Firehose, cursor: Option<i64>) -> Result<Start, db::Error> {
    let newest = firehose.sequencer.newest().await?;
    let Some(cursor) = cursor else { return Ok(Start::After(newest)) };
    if cursor > newest {
        return Ok(Start::Future);
    }
    let window_start = firehose.clock.now() - firehose.settings.backfill_window;
    match firehose.sequencer.find_time_after(cursor).await? {
        Some(next) if next < window_start => {
            // Reference: nothing inside the window means live only.
            let first = firehose.sequencer.find_first_since(window_start).await?;
            Ok(Start::Outdated(first.map_or(newest, |seq| seq - 1)))
        }
        _ => Ok(Start::After(cursor)),
    }
}
