//! One subscriber: a position in the stream and a socket.

use std::time::Duration;

use atproto::event;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use common::db;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::ring::Frame;
use super::start::{self, Start};
use super::{Firehose, tail};

/// Frames written before the socket is flushed and the subscriber looked at again.
const CHUNK: usize = 128;
/// Events in one page of backfill.
const PAGE: u16 = 500;
/// How long a subscriber that is behind may take nothing before it counts as slow: a burst is not its fault.
const GRACE: Duration = Duration::from_secs(1);
/// How long a subscriber may take nothing at all, however little waits: its host is gone.
const STALL: Duration = Duration::from_secs(30);
/// Pause after a failed read of the log.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Subscriber {
    firehose: Firehose,
    sink: SplitSink<WebSocket, Message>,
    incoming: SplitStream<WebSocket>,
    newest: watch::Receiver<Option<i64>>,
    position: i64,
}

/// Why a subscription ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client closed the socket, broke it, or sent what is no WebSocket message.
    Gone,
    /// This replica stops.
    Shutdown,
    /// The client is told why.
    Refused { error: &'static str, message: &'static str },
}

const FUTURE_CURSOR: End = End::Refused { error: "FutureCursor", message: "Cursor in the future." };
const TOO_SLOW: End = End::Refused { error: "ConsumerTooSlow", message: "Stream consumer too slow" };
const BAD_CURSOR: End = End::Refused {
    error: "InvalidRequest",
    message: "Invalid com.atproto.sync.subscribeRepos params: cursor must be an integer",
};

impl Subscriber {
    pub(super) fn new(firehose: Firehose, socket: WebSocket) -> Self {
        let (sink, incoming) = socket.split();
        let newest = firehose.ring.newest();
        Self { firehose, sink, incoming, newest, position: 0 }
    }

    pub(super) async fn run(mut self, cursor: Option<String>) {
        let shutdown = self.firehose.shutdown.clone();
        let end = tokio::select! {
            () = shutdown.requested() => End::Shutdown,
            end = self.stream(cursor) => end,
        };
        debug!(?end, position = self.position, "subscription ends");
        // The client may be gone, or not read: its last words are not worth waiting for.
        let _ = timeout(GRACE, self.say_goodbye(end)).await;
    }

    async fn stream(&mut self, cursor: Option<String>) -> End {
        match self.find_start(cursor).await {
            Ok(position) => self.position = position,
            Err(end) => return end,
        }
        loop {
            let sent = match self.next_frames().await {
                Ok(frames) if frames.is_empty() => self.wait().await,
                Ok(frames) => self.send(frames).await,
                Err(error) => {
                    warn!(%error, "cannot read the log for a subscriber; trying again");
                    sleep(PAUSE).await;
                    Ok(())
                }
            };
            if let Err(end) = sent.and_then(|()| self.read_waiting()) {
                return end;
            }
        }
    }

    async fn find_start(&mut self, cursor: Option<String>) -> Result<i64, End> {
        // An empty parameter counts as absent, as everywhere in XRPC.
        let cursor = match cursor.filter(|cursor| !cursor.is_empty()) {
            Some(text) => Some(text.parse::<i64>().map_err(|_| BAD_CURSOR)?),
            None => None,
        };
        loop {
            match start::find(&self.firehose, cursor).await {
                Ok(Start::After(position)) => return Ok(position),
                Ok(Start::Future) => return Err(FUTURE_CURSOR),
                Ok(Start::Outdated(position)) => {
                    let info = event::info_frame(
                        "OutdatedCursor",
                        Some("Requested cursor exceeded limit. Possibly missing events"),
                    );
                    self.sink.send(Message::Binary(info)).await.map_err(|_| End::Gone)?;
                    return Ok(position);
                }
                Err(error) => {
                    warn!(%error, "cannot find a subscriber's place in the log; trying again");
                    sleep(PAUSE).await;
                    self.read_waiting()?;
                }
            }
        }
    }

    /// The frames that follow, from memory or from the log; none if there are none yet.
    async fn next_frames(&self) -> Result<Vec<Frame>, db::Error> {
        if let Some(frames) = self.firehose.ring.after(self.position, CHUNK) {
            return Ok(frames);
        }
        // Closed never: the semaphore lives as long as the firehose.
        let _permit = self.firehose.backfills.acquire().await;
        let events = self.firehose.sequencer.list_after(self.position, PAGE).await?;
        Ok(events.iter().filter_map(tail::encode).collect())
    }

    async fn send(&mut self, frames: Vec<Frame>) -> Result<(), End> {
        for chunk in frames.chunks(CHUNK) {
            let slow = too_slow(self.newest.clone(), self.position, self.firehose.settings.max_waiting);
            tokio::select! {
                biased;
                sent = write(&mut self.sink, chunk) => sent?,
                () = slow => return Err(TOO_SLOW),
                () = sleep(STALL) => return Err(End::Gone),
            }
            if let Some(last) = chunk.last() {
                self.position = last.seq;
            }
        }
        Ok(())
    }

    /// Waits until there may be more to send.
    async fn wait(&mut self) -> Result<(), End> {
        tokio::select! {
            // The ring outlives its subscribers.
            _ = self.newest.changed() => Ok(()),
            message = self.incoming.next() => check(message.as_ref()),
        }
    }

    /// Reads what the client has sent meanwhile, so that pings are answered and a close is noticed.
    fn read_waiting(&mut self) -> Result<(), End> {
        while let Some(message) = self.incoming.next().now_or_never() {
            check(message.as_ref())?;
        }
        Ok(())
    }

    async fn say_goodbye(mut self, end: End) {
        let close = match end {
            End::Gone => return,
            End::Shutdown => CloseFrame { code: close_code::AWAY, reason: Utf8Bytes::from_static("shutting down") },
            End::Refused { error, message } => {
                let frame = Message::Binary(event::error_frame(error, Some(message)));
                if self.sink.send(frame).await.is_err() {
                    return;
                }
                CloseFrame { code: close_code::POLICY, reason: Utf8Bytes::from_static(error) }
            }
        };
        if self.sink.send(Message::Close(Some(close))).await.is_ok() {
            // The client's own close: without it, the bytes before may be lost to a reset.
            while let Some(Ok(_)) = self.incoming.next().await {}
        }
    }
}

async fn write(sink: &mut SplitSink<WebSocket, Message>, chunk: &[Frame]) -> Result<(), End> {
    for frame in chunk {
        sink.feed(Message::Binary(Bytes::clone(&frame.bytes))).await.map_err(|_| End::Gone)?;
    }
    sink.flush().await.map_err(|_| End::Gone)
}

/// Ends when more than `max_waiting` events wait behind `position` and have done so for a while.
async fn too_slow(mut newest: watch::Receiver<Option<i64>>, position: i64, max_waiting: usize) {
    sleep(GRACE).await;
    let behind = |newest: &Option<i64>| {
        newest.is_some_and(|newest| usize::try_from(newest - position).is_ok_and(|behind| behind > max_waiting))
    };
    if newest.wait_for(behind).await.is_err() {
        // No tail, no new events: nobody is slow.
        std::future::pending::<()>().await;
    }
}

/// What a client sends means nothing here, but for its leaving.
fn check(message: Option<&Result<Message, axum::Error>>) -> Result<(), End> {
    match message {
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(End::Gone),
        Some(Ok(_)) => Ok(()),
    }
}
