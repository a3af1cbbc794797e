//! Serves `com.atproto.sync.subscribeRepos`.
//!
//! One [`tail`] a replica reads every event once, encodes its frame once and keeps the recent ones in a [`ring`]. A
//! [`subscriber`] is nothing but a position in the stream: where the ring reaches back to it, it takes frames from
//! there, else it reads pages of the log. Both give the same frames in the same order, so a backfill runs into the live
//! stream without a gap or a repeat, on whatever replica the subscriber lands.
//!
//! Nobody holds a socket, memory or a stop of the replica for ever: who cannot keep the [`pace`], takes nothing, or
//! answers no ping is sent away, and the [`backfill`] of who is slow goes in small pages. The [`roster`] shows who is
//! there. A tail that panics is started again; meanwhile the replica is not ready, and its subscribers read the log for
//! themselves.
//!
//! What an event costs is mostly system calls: a write to each subscriber, and a read of the log. So the tail lets
//! events of a busy moment gather for some milliseconds, and all that waits for a subscriber goes out in one write.
//!
//! Source: atproto.com/specs/event-stream, atproto.com/specs/sync.

mod backfill;
mod pace;
mod ring;
mod roster;
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
use common::telemetry::metrics::Exposition;
use tokio::sync::Semaphore;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::ring::Ring;
pub use self::roster::Client;
use self::roster::Roster;
use self::subscriber::Subscriber;
use crate::http::Shutdown;
use crate::xrpc::XrpcError;

/// Pages of backfill that a replica reads from Postgres at once.
const BACKFILLS: usize = 4;
/// See [`Settings::grace`].
const GRACE: Duration = Duration::from_secs(5);
/// See [`Settings::stall`].
const STALL: Duration = Duration::from_secs(30);
/// See [`Settings::ping`].
const PING: Duration = Duration::from_secs(30);
/// See [`Settings::silence`].
const SILENCE: Duration = Duration::from_mins(2);

/// How the stream treats its subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far back a cursor may reach.
    pub backfill_window: Duration,
    /// Events that may wait for a subscriber that had caught up.
    pub max_waiting: usize,
    /// How long more than `max_waiting` may wait: a burst is not the subscriber's fault.
    pub grace: Duration,
    /// How long any subscriber may take nothing of what there is for it.
    pub stall: Duration,
    /// How long a subscriber may be quiet before it is asked, by a ping, whether it is there. Proxies, too, then see
    /// that the connection is in use.
    pub ping: Duration,
    /// How long a subscriber may be quiet at all. What it was sent must be taken by then, with the ping behind it.
    pub silence: Duration,
}

impl Settings {
    /// The settings that an operator can make, with the usual patience.
    pub fn new(backfill_window: Duration, max_waiting: usize) -> Self {
        Self { backfill_window, max_waiting, grace: GRACE, stall: STALL, ping: PING, silence: SILENCE }
    }
}

/// The event stream of this replica. Cheap to clone.
#[derive(Clone)]
pub struct Firehose {
    sequencer: Sequencer,
    clock: Clock,
    settings: Settings,
    ring: Arc<Ring>,
    roster: Arc<Roster>,
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
        let tail = tail::keep_following(sequencer.clone(), Arc::clone(&ring));
        shutdown.tasks().spawn(shutdown.child_token().run_until_cancelled_owned(tail));
        let (roster, backfills) = (Arc::default(), Arc::new(Semaphore::new(BACKFILLS)));
        Self { sequencer, clock, settings, ring, roster, backfills, shutdown }
    }

    /// True if new events reach the subscribers; false until the tail has found its place, and after it panicked.
    pub fn is_following(&self) -> bool {
        self.position().is_some()
    }

    /// Seq of the newest event this replica has read; `None` while it does not follow the log.
    pub fn position(&self) -> Option<i64> {
        self.ring.newest_seq()
    }

    /// Who is subscribed, as JSON: address, user agent, cursor, position, lag in events, events sent, connected since.
    pub fn subscribers(&self) -> serde_json::Value {
        self.roster.to_json(self.ring.newest_seq())
    }

    /// Writes the stream's metrics.
    pub fn expose(&self, text: &mut Exposition) {
        let newest = self.ring.newest_seq();
        self.roster.expose(newest, text);
        let (frames, bytes) = self.ring.size();
        text.gauge("pds_firehose_following", "1 while the tail follows the log.", u8::from(newest.is_some()));
        text.gauge("pds_firehose_position", "Seq of the newest event this replica has read.", newest.unwrap_or(0));
        text.gauge("pds_firehose_ring_frames", "Recent frames in memory.", frames);
        text.gauge("pds_firehose_ring_bytes", "Bytes of recent frames in memory.", bytes);
    }

    /// Announces a subscriber, so that a stop of the replica waits for it: its socket opens only after its request is
    /// answered.
    pub fn expect(self, client: Client) -> Expected {
        Expected { _counted: self.shutdown.tasks().token(), firehose: self, client }
    }
}

/// The place of a subscriber whose socket is about to open.
pub struct Expected {
    firehose: Firehose,
    client: Client,
    _counted: TaskTrackerToken,
}

impl Expected {
    /// Serves the subscriber until it leaves, fails or the replica stops. `cursor` is the seq of the last event it has;
    /// an error, what is wrong with its parameters.
    pub async fn serve(self, socket: WebSocket, cursor: Result<Option<i64>, XrpcError>) {
        let Self { firehose, client, _counted } = self;
        let asked = cursor.as_ref().ok().copied().flatten();
        let listed = firehose.roster.enter(client, asked, firehose.clock.now());
        Subscriber::new(firehose, socket, listed).run(cursor).await;
    }
}
