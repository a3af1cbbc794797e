//! Serves `com.atproto.sync.subscribeRepos`.
//!
//! One [`tail`] a replica reads every event once, encodes its frame once and keeps the recent ones in a [`ring`]. A
//! [`subscriber`] is nothing but a position in the stream: where the ring reaches back to it, it takes frames from there,
//! else it reads pages of the log. Both give the same frames in the same order, so a backfill runs into the live stream
//! without a gap or a repeat, on whatever replica the subscriber lands. One that cannot keep its [`pace`] is sent away.
//!
//! Source: atproto.com/specs/event-stream, atproto.com/specs/sync.

mod pace;
mod ring;
mod socket;
mod start;
mod subscriber;
mod tail;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use common::clock::Clock;
use common::sequencer::Sequencer;
use tokio::sync::Semaphore;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::ring::Ring;
use self::subscriber::Subscriber;
use crate::http::Shutdown;
use crate::xrpc::XrpcError;

/// Pages of backfill that a replica reads from Postgres at once.
const BACKFILLS: usize = 4;
/// See [`Settings::grace`].
const GRACE: Duration = Duration::from_secs(5);
/// See [`Settings::stall`].
const STALL: Duration = Duration::from_secs(30);

/// How the stream treats its subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far back a cursor may reach.
    pub backfill_window: Duration,
    /// Events that may wait for a subscriber that had caught up.
    pub max_waiting: usize,
    /// How long more than `max_waiting` may wait: a burst is not the subscriber's fault.
    pub grace: Duration,
    /// How long any subscriber may take nothing of what there is for it. Also how long the stream may be quiet before a
    /// ping shows proxies, and the network, that both ends are still there.
    pub stall: Duration,
}

impl Settings {
    /// The settings that an operator can make, with the usual patience.
    pub fn new(backfill_window: Duration, max_waiting: usize) -> Self {
        Self { backfill_window, max_waiting, grace: GRACE, stall: STALL }
    }
}

/// The event stream of this replica. Cheap to clone.
#[derive(Clone)]
pub struct Firehose {
    sequencer: Sequencer,
    clock: Clock,
    settings: Settings,
    ring: Arc<Ring>,
    backfills: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl fmt::Debug for Firehose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Firehose").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Firehose {
    /// Starts to follow the log. Everything ends with `shutdown`, which waits for it.
    pub fn start(sequencer: Sequencer, clock: Clock, settings: Settings, shutdown: Shutdown) -> Self {
        let ring = Arc::new(Ring::new());
        let tail = tail::follow(sequencer.clone(), Arc::clone(&ring));
        shutdown.tasks().spawn(shutdown.child_token().run_until_cancelled_owned(tail));
        Self { sequencer, clock, settings, ring, backfills: Arc::new(Semaphore::new(BACKFILLS)), shutdown }
    }

    /// Announces a subscriber, so that a stop of the replica waits for it: its socket opens only after its request is
    /// answered.
    pub fn expect(self) -> Expected {
        Expected { _counted: self.shutdown.tasks().token(), firehose: self }
    }
}

/// The place of a subscriber whose socket is about to open.
pub struct Expected {
    firehose: Firehose,
    _counted: TaskTrackerToken,
}

impl Expected {
    /// Serves the subscriber until it leaves, fails or the replica stops. `cursor` is the seq of the last event it has; an
    /// error, what is wrong with its parameters.
    pub async fn serve(self, socket: WebSocket, cursor: Result<Option<i64>, XrpcError>) {
        Subscriber::new(self.firehose.clone(), socket).run(cursor).await;
    }
}
