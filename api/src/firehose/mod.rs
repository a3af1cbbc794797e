//! Serves `com.atproto.sync.subscribeRepos`.
//!
//! One [`tail`] a replica reads every event once, encodes its frame once and keeps the recent ones in a [`ring`]. A
//! [`subscriber`] is nothing but a position in the stream: where the ring reaches back to it, it takes frames from there,
//! else it reads pages of the log. Both give the same frames in the same order, so a backfill runs into the live stream
//! without a gap or a repeat, on whatever replica the subscriber lands.
//!
//! Source: atproto.com/specs/event-stream, atproto.com/specs/sync.

mod ring;
mod start;
mod subscriber;
mod tail;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use common::clock::Clock;
use common::sequencer::Sequencer;
use tokio::sync::Semaphore;

use self::ring::Ring;
use self::subscriber::Subscriber;
use crate::http::Shutdown;

/// Pages of backfill that a replica reads from Postgres at once.
const BACKFILLS: usize = 4;

/// How the stream treats its subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far back a cursor may reach.
    pub backfill_window: Duration,
    /// Events that may wait for a subscriber that does not read.
    pub max_waiting: usize,
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

    /// Serves one subscriber until it leaves, fails or the replica stops. `cursor` is the parameter as the client sent it.
    pub async fn serve(self, socket: WebSocket, cursor: Option<String>) {
        let tasks = self.shutdown.tasks().clone();
        tasks.track_future(Subscriber::new(self, socket).run(cursor)).await;
    }
}
