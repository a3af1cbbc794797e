//! Follows the log: the one reader of new events in a replica.

use std::sync::Arc;
use std::time::Duration;

use atproto::event;
use common::sequencer::{Sequencer, StoredEvent};
use tracing::{error, info, warn};

use super::ring::{Frame, Ring};

/// Events in one read.
const PAGE: u16 = 1000;
/// Pause after a failed read.
const PAUSE: Duration = Duration::from_millis(250);

/// Keeps the ring up to date, for ever. It continues after the last event it has, so an outage of Postgres delays events
/// and loses none.
pub(super) async fn follow(sequencer: Sequencer, ring: Arc<Ring>) {
    let mut position = begin(&sequencer, &ring).await;
    let mut wakeups = sequencer.wakeups();
    let mut failing = false;
    loop {
        match sequencer.list_after(position, PAGE).await {
            Ok(events) => {
                if failing {
                    info!(position, "following the log again");
                    failing = false;
                }
                let full = events.len() == usize::from(PAGE);
                position = events.last().map_or(position, |event| event.seq);
                ring.extend(position, events.iter().filter_map(encode).collect());
                if !full {
                    wakeups.next().await;
                }
            }
            Err(error) => {
                if !failing {
                    warn!(%error, position, "cannot read the log; trying again");
                    failing = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Begins at the newest event: the log has the older ones.
async fn begin(sequencer: &Sequencer, ring: &Ring) -> i64 {
    loop {
        match sequencer.newest().await {
            Ok(position) => {
                ring.begin(position);
                return position;
            }
            Err(error) => {
                warn!(%error, "cannot find the end of the log; trying again");
                tokio::time::sleep(PAUSE).await;
            }
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
