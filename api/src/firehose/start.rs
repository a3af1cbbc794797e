//! Where in the stream a subscriber begins.

use common::db;
use common::sequencer::window_start;

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
    let Some(cursor) = cursor else { return Ok(Start::After(firehose.sequencer.newest().await?)) };
    let cursor = cursor.max(0);
    let place = firehose.sequencer.locate(cursor).await?;
    if cursor > place.newest {
        return Ok(Start::Future);
    }
    let window_start = window_start(firehose.clock.now(), firehose.settings.backfill_window);
    let next_is_old = place.next_time.is_some_and(|next| next < window_start);
    // What followed may have been dropped already.
    if !next_is_old && cursor + 1 >= place.floor {
        return Ok(Start::After(cursor));
    }
    // Reference: nothing inside the window means live only.
    let first = firehose.sequencer.find_first_since(window_start).await?;
    Ok(Start::Outdated(first.map_or(place.newest, |seq| seq - 1)))
}
