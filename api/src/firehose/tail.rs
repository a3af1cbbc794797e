//! Follows the log: the one reader of new events in a replica.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use atproto::event;
use common::db;
use common::sequencer::{Page, PageLimit, Sequencer, StoredEvent};
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::ring::{Frame, Ring};

/// How much to read at once.
const PAGE: PageLimit = PageLimit::of(1000);
/// How long new events may gather before the next read, if some have only just come. A busy stream then costs a read,
/// and a write to each subscriber, for all of them; the first event after a quiet moment does not wait.
const GATHER: Duration = Duration::from_millis(10);
/// Pause after a failed read. Short at first: after a failover every connection of the pool fails once.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a read may take; Postgres itself gives up sooner. The network may have swallowed the question or the
/// answer.
const READ_LIMIT: Duration = Duration::from_secs(35);
/// Pause before a tail that panicked starts again.
const RESTART: Duration = Duration::from_secs(1);

/// Keeps the ring up to date, for ever, whatever happens to the one who does it.
pub(super) async fn keep_following(sequencer: Sequencer, ring: Arc<Ring>) {
    supervise(&ring, RESTART, || follow(&sequencer, &ring)).await;
}

/// Runs the tail again when it panics. Until it has found its place again the replica is not ready, and its subscribers
/// read the log for themselves: what they have does not matter to the new tail.
async fn supervise<F: Future<Output = ()>>(ring: &Ring, pause: Duration, tail: impl Fn() -> F) {
    loop {
        // The panic hook says what happened.
        if AssertUnwindSafe(tail()).catch_unwind().await.is_ok() {
            return;
        }
        error!("the tail of the log panicked; starting it again");
        ring.abandon();
        sleep(pause).await;
    }
}

/// Continues after the last event it has, so an outage of Postgres delays events and loses none.
async fn follow(sequencer: &Sequencer, ring: &Ring) {
    let mut outage = Outage::default();
    let mut position = begin(sequencer, ring, &mut outage).await;
    let mut wakeups = sequencer.wakeups();
    loop {
        match read(sequencer, position).await {
            Ok(page) => {
                outage.end();
                if page.end > position {
                    position = page.end;
                    ring.extend(position, page.events.iter().filter_map(encode).collect());
                    if !page.is_full {
                        sleep(GATHER).await;
                    }
                }
                if !page.is_full {
                    wakeups.next().await;
                }
            }
            Err(error) => outage.pause(&error).await,
        }
    }
}

async fn read(sequencer: &Sequencer, position: i64) -> Result<Page, db::Error> {
    let page = timeout(READ_LIMIT, sequencer.list_after(position, PAGE)).await;
    page.unwrap_or_else(|_| Err(db::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Begins at the newest event: the log has the older ones.
async fn begin(sequencer: &Sequencer, ring: &Ring, outage: &mut Outage) -> i64 {
    loop {
        match sequencer.newest().await {
            Ok(position) => {
                outage.end();
                ring.begin(position);
                return position;
            }
            Err(error) => outage.pause(&error).await,
        }
    }
}

/// Whether reading fails: it is said once when that begins and once when it ends.
#[derive(Default)]
struct Outage {
    failures: u32,
}

impl Outage {
    async fn pause(&mut self, error: &db::Error) {
        if self.failures == 0 {
            warn!(%error, "cannot read the log; trying again");
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        sleep(pause).await;
    }

    fn end(&mut self) {
        if self.failures > 0 {
            info!(failures = self.failures, "reading the log again");
            self.failures = 0;
        }
    }
}

/// The frame of a stored event: the same bytes on every replica. `None` for an event that is damaged: it must not stop
/// the stream.
pub(super) fn encode(event: &StoredEvent) -> Option<Frame> {
    match event::frame(event.kind, &event.body, event.seq) {
        Ok(bytes) => Some(Frame { seq: event.seq, bytes }),
        Err(error) => {
            error!(seq = event.seq, %error, "skipping a damaged event");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_tail_that_panics_starts_again() {
        let (ring, runs) = (Ring::new(), AtomicUsize::new(0));
        let mut newest = ring.newest();
        supervise(&ring, Duration::ZERO, || async {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            assert_eq!(ring.newest_seq(), None, "nobody relies on what a dead tail had");
            ring.begin(7);
            assert!(run > 1, "this panic is part of the test");
        })
        .await;
        assert_eq!(runs.into_inner(), 3);
        assert_eq!(*newest.borrow_and_update(), Some(7));
    }
}
