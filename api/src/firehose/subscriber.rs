//! One subscriber: a position in the stream and a socket.

use std::time::Duration;

use atproto::event;
use axum::extract::ws::WebSocket;
use common::db;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use super::pace::Pace;
use super::ring::Frame;
use super::socket::{End, Socket};
use super::start::{self, Start};
use super::{Firehose, tail};
use crate::xrpc::XrpcError;

/// Frames written before the socket is flushed and the subscriber looked at again.
const CHUNK: usize = 128;
/// Events in one page of backfill.
const PAGE: u16 = 500;
/// Pause after a failed read of the log.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a stopping replica waits for the other side to close too.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Subscriber {
    firehose: Firehose,
    socket: Socket,
    newest: watch::Receiver<Option<i64>>,
    pace: Pace,
    position: i64,
}

/// Frames to send next.
struct Batch {
    frames: Vec<Frame>,
    /// The stream position after them.
    end: i64,
}

impl Subscriber {
    pub(super) fn new(firehose: Firehose, socket: WebSocket) -> Self {
        let newest = firehose.ring.newest();
        let pace = Pace::new(newest.clone(), firehose.settings);
        Self { firehose, socket: Socket::new(socket), newest, pace, position: 0 }
    }

    pub(super) async fn run(mut self, cursor: Result<Option<i64>, XrpcError>) {
        let Firehose { shutdown, settings, .. } = self.firehose.clone();
        let end = match cursor {
            Err(error) => error.into(),
            Ok(cursor) => tokio::select! {
                () = shutdown.requested() => End::Shutdown,
                end = self.stream(cursor) => end,
            },
        };
        debug!(?end, position = self.position, "subscription ends");
        let socket = self.into_socket();
        // A client that does not read now may do so in a moment, and then learn why. But a stop does not wait for it.
        let stop = async {
            shutdown.requested().await;
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = socket.say_goodbye(end) => {}
            () = sleep(settings.stall) => {}
            () = stop => {}
        }
    }

    /// All that is needed for the goodbye: no place in the stream is kept for who leaves.
    fn into_socket(self) -> Socket {
        self.socket
    }

    async fn stream(&mut self, cursor: Option<i64>) -> End {
        match self.find_start(cursor).await {
            Ok(position) => self.position = position,
            Err(end) => return end,
        }
        loop {
            let result = match self.next_batch().await {
                Ok(batch) if batch.end > self.position => self.send(batch).await,
                Ok(_) => self.wait().await,
                Err(error) => self.pause(&error).await,
            };
            if let Err(end) = result.and_then(|()| self.socket.receive_waiting()) {
                return end;
            }
        }
    }

    async fn find_start(&mut self, cursor: Option<i64>) -> Result<i64, End> {
        loop {
            match start::find(&self.firehose, cursor).await {
                Ok(Start::After(position)) => return Ok(position),
                Ok(Start::Future) => return Err(End::FUTURE_CURSOR),
                Ok(Start::Outdated(position)) => {
                    let message = "Requested cursor exceeded limit. Possibly missing events";
                    let info = event::info_frame("OutdatedCursor", Some(message));
                    self.socket.send([info].iter(), self.firehose.settings.stall).await?;
                    return Ok(position);
                }
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// The frames that follow, from memory or from the log. The batch ends where it began if there are none yet.
    async fn next_batch(&self) -> Result<Batch, db::Error> {
        if let Some(frames) = self.firehose.ring.after(self.position, CHUNK) {
            let end = frames.last().map_or(self.position, |last| last.seq);
            return Ok(Batch { frames, end });
        }
        // Closed never: the semaphore lives as long as the firehose.
        let _permit = self.firehose.backfills.acquire().await;
        let known = *self.newest.borrow();
        let page = self.firehose.sequencer.list_after(self.position, PAGE).await?;
        let last = page.events.last().map_or(self.position, |event| event.seq);
        // A page that is not full has all there is, so also all that the tail had seen before. Without this a subscriber
        // would stay at a position from which the log holds nothing, its events being gone or damaged.
        let end = if page.is_full { last } else { known.map_or(last, |known| known.max(last)) };
        Ok(Batch { frames: page.events.iter().filter_map(tail::encode).collect(), end })
    }

    async fn send(&mut self, batch: Batch) -> Result<(), End> {
        for chunk in batch.frames.chunks(CHUNK) {
            let frames = chunk.iter().map(|frame| &frame.bytes);
            tokio::select! {
                biased;
                sent = self.socket.send(frames, self.firehose.settings.stall) => sent?,
                () = self.pace.too_slow(self.position) => return Err(End::TOO_SLOW),
            }
            if let Some(last) = chunk.last() {
                self.advance(last.seq);
            }
        }
        self.advance(batch.end);
        Ok(())
    }

    fn advance(&mut self, position: i64) {
        self.position = position;
        self.pace.advance(position);
    }

    /// Waits until there may be more to send.
    async fn wait(&mut self) -> Result<(), End> {
        self.pace.advance(self.position);
        tokio::select! {
            // The ring outlives its subscribers.
            _ = self.newest.changed() => Ok(()),
            received = self.socket.receive() => received,
            // Reference: never pings. Then proxies cut off a quiet stream, and a client that is gone is never noticed.
            () = sleep(self.firehose.settings.stall) => self.socket.ping().await,
        }
    }

    /// Waits before the next try of a read that failed. The tail has said why.
    async fn pause(&mut self, error: &db::Error) -> Result<(), End> {
        debug!(%error, "cannot read the log for a subscriber; trying again");
        sleep(PAUSE).await;
        self.socket.receive_waiting()
    }
}
