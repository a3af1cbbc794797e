//! Follows the log: the one reader of new events in a replica.

use std::sync::Arc;
use std::time::Duration;

use atproto::event;
use common::db;
use common::sequencer::{Sequencer, StoredEvent};
use tracing::{error, info, warn};

use super::ring::{Frame, Ring};

/// Events in one read.
const PAGE: u16 = 1000;
/// Pause after a failed read. Short at first: after a failover every connection of the pool fails once.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Keeps the ring up to date, for ever. It continues after the last event it has, so an outage of Postgres delays events
/// and loses none.
pub(super) async fn follow(sequencer: Sequencer, ring: Arc<Ring>) {
    let mut outage = Outage::default();
    let mut position = begin(&sequencer, &ring, &mut outage).await;
    let mut wakeups = sequencer.wakeups();
    loop {
        match sequencer.list_after(position, PAGE).await {
            Ok(page) => {
                outage.end();
                position = page.events.last().map_or(position, |event| event.seq);
                ring.extend(position, page.events.iter().filter_map(encode).collect());
                if !page.is_full {
                    wakeups.next().await;
                }
            }
            Err(error) => outage.pause(&error).await,
        }
    }
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
        tokio::time::sleep(pause).await;
    }

    fn end(&mut self) {
        if self.failures > 0 {
            info!(failures = self.failures, "reading the log again");
            self.failures = 0;
        }
    }
}

/// The frame of a stored event: the same bytes on every replica. `None` for an event that is damaged: it must not stop the
/// stream.
pub(super) fn encode(event: &StoredEvent) -> Option<Frame> {
    match event::frame(event.kind, &event.body, event.seq) {
        Ok(bytes) => Some(Frame { seq: event.seq, bytes }),
        Err(error) => {
            error!(seq = event.seq, %error, "skipping a damaged event");
            None
        }
    }
}
