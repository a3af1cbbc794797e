//! Pages of older events, for one subscriber.

use std::time::Duration;

use common::db;
use common::sequencer::PageLimit;

use super::ring::Frame;
use super::{Firehose, tail};

/// Events in one page.
const EVENTS: u16 = 1000;
/// Bytes in one page at first, at least and at most.
const FIRST: u32 = 256 * 1024;
const LEAST: u32 = 64 * 1024;
const MOST: u32 = 1024 * 1024;
/// Who takes a page within this time gets more of them at once; who takes longer than the other, less.
const QUICKLY: Duration = Duration::from_millis(250);
const SLOWLY: Duration = Duration::from_secs(1);

/// Frames to send next.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frames: Vec<Frame>,
    /// The stream position after them.
    pub(super) end: i64,
    /// True if events before them are missing because of their age.
    pub(super) is_outdated: bool,
}

/// Reads the log for one subscriber.
///
/// A page is in memory until the subscriber has taken it, so who takes its time gets small ones: a thousand slow
/// subscribers at once must fit, and one quick subscriber should not wait for Postgres too often.
#[derive(Debug)]
pub(super) struct Backfill {
    bytes: u32,
}

impl Backfill {
    pub(super) fn new() -> Self {
        Self { bytes: FIRST }
    }

    /// The events that follow `position`, from the log. The batch ends where it began if there are none.
    pub(super) async fn read(&self, firehose: &Firehose, position: i64) -> Result<Batch, db::Error> {
        // Closed never: the semaphore lives as long as the firehose.
        let _permit = firehose.backfills.acquire().await;
        let known = firehose.ring.newest_seq();
        let limit = PageLimit { events: EVENTS, bytes: self.bytes };
        let page = firehose.sequencer.list_after(position, limit).await?;
        // A page that is not full has all there is, so also all that the tail had seen before. Without this a
        // subscriber would stay at a position from which the log holds nothing, its events being gone or damaged.
        let end = if page.is_full { page.end } else { known.map_or(page.end, |known| known.max(page.end)) };
        let next = page.events.first().map_or(end + 1, |event| event.seq);
        // Usually it was an account that went, with its events. But a slow subscriber may also fall out of the window.
        let is_outdated = next > position + 1 && firehose.sequencer.floor().await? > position + 1;
        Ok(Batch { frames: page.events.iter().filter_map(tail::encode).collect(), end, is_outdated })
    }

    /// Notes how long the subscriber took for a page.
    pub(super) fn taken_in(&mut self, time: Duration) {
        if time < QUICKLY {
            self.bytes = self.bytes.saturating_mul(2).min(MOST);
        } else if time > SLOWLY {
            self.bytes = (self.bytes / 2).max(LEAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_with_the_appetite() {
        let mut backfill = Backfill::new();
        for _ in 0..10 {
            backfill.taken_in(Duration::ZERO);
        }
        assert_eq!(backfill.bytes, MOST);
        backfill.taken_in(QUICKLY);
        assert_eq!(backfill.bytes, MOST);
        for _ in 0..10 {
            backfill.taken_in(SLOWLY * 2);
        }
        assert_eq!(backfill.bytes, LEAST);
    }
}
