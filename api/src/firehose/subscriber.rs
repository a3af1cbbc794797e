//! One subscriber: a position in the stream and a socket.

use std::time::Duration;

use atproto::event;
use axum::extract::ws::WebSocket;
use bytes::Bytes;
use common::db;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::Firehose;
use super::backfill::{Backfill, Batch};
use super::pace::Pace;
use super::roster::Listed;
use super::socket::{End, Socket};
use super::start::{self, Start};
use crate::xrpc::XrpcError;

/// Frames written before the socket is flushed and the subscriber looked at again.
const CHUNK: usize = 128;
/// Pause after a failed read of the log.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a stopping replica waits for the other side to close too.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Subscriber {
    firehose: Firehose,
    socket: Socket,
    listed: Listed,
    newest: watch::Receiver<Option<i64>>,
    pace: Pace,
    backfill: Backfill,
    position: i64,
}

impl Subscriber {
    pub(super) fn new(firehose: Firehose, socket: WebSocket, listed: Listed) -> Self {
        let newest = firehose.ring.newest();
        let pace = Pace::new(newest.clone(), firehose.settings);
        let socket = Socket::new(socket, firehose.settings.stall);
        Self { firehose, socket, listed, newest, pace, backfill: Backfill::new(), position: 0 }
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
        let socket = self.leave(&end);
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

    /// Leaves what is needed for the goodbye: no place in the stream is kept for who goes.
    fn leave(self, end: &End) -> Socket {
        self.listed.leave(end);
        self.socket
    }

    async fn stream(&mut self, cursor: Option<i64>) -> End {
        match self.find_start(cursor).await {
            Ok(position) => self.position = position,
            Err(end) => return end,
        }
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        match self.next_batch().await {
            Ok(batch) if batch.end > self.position => self.send(batch).await?,
            Ok(_) => self.wait().await?,
            Err(error) => self.pause(&error).await?,
        }
        self.socket.receive_waiting()?;
        self.check_presence().await
    }

    async fn find_start(&mut self, cursor: Option<i64>) -> Result<i64, End> {
        loop {
            match start::find(&self.firehose, cursor).await {
                Ok(Start::After(position)) => return Ok(position),
                Ok(Start::Future) => return Err(End::FUTURE_CURSOR),
                Ok(Start::Outdated(position)) => {
                    self.socket.send([outdated_cursor()].into_iter()).await?;
                    return Ok(position);
                }
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    /// The frames that follow, from memory or from the log. The batch ends where it began if there are none yet.
    async fn next_batch(&self) -> Result<Batch, db::Error> {
        match self.firehose.ring.after(self.position, CHUNK) {
            Some(frames) => {
                let end = frames.last().map_or(self.position, |last| last.seq);
                Ok(Batch { frames, end, is_outdated: false })
            }
            None => self.backfill.read(&self.firehose, self.position).await,
        }
    }

    async fn send(&mut self, batch: Batch) -> Result<(), End> {
        let begin = Instant::now();
        if batch.is_outdated {
            self.socket.send([outdated_cursor()].into_iter()).await?;
        }
        for chunk in batch.frames.chunks(CHUNK) {
            let frames = chunk.iter().map(|frame| Bytes::clone(&frame.bytes));
            tokio::select! {
                biased;
                sent = self.socket.send(frames) => sent?,
                () = self.pace.too_slow(self.position) => return Err(End::TooSlow),
            }
            self.listed.sent(chunk.len(), chunk.iter().map(|frame| frame.bytes.len()).sum());
            if let Some(last) = chunk.last() {
                self.advance(last.seq);
            }
        }
        self.backfill.taken_in(begin.elapsed());
        self.advance(batch.end);
        Ok(())
    }

    fn advance(&mut self, position: i64) {
        self.position = position;
        self.listed.at(position);
        self.pace.advance(position);
    }

    /// Waits until there may be more to send, or it is time to ask the client whether it is there.
    async fn wait(&mut self) -> Result<(), End> {
        self.advance(self.position);
        let question = self.socket.next_question(self.firehose.settings.ping);
        tokio::select! {
            // The ring outlives its subscribers.
            _ = self.newest.changed() => Ok(()),
            received = self.socket.receive() => received,
            () = sleep_until(question) => Ok(()),
        }
    }

    /// Asks a client that has been quiet for some time, and gives one up that does not answer.
    ///
    /// Reference: never pings. Then proxies cut off a quiet stream, and a client that is gone is never noticed.
    async fn check_presence(&mut self) -> Result<(), End> {
        let settings = self.firehose.settings;
        if self.socket.silence() >= settings.silence {
            return Err(End::Silent);
        }
        self.socket.ask(settings.ping).await
    }

    /// Waits before the next try of a read that failed. The tail has said why.
    async fn pause(&mut self, error: &db::Error) -> Result<(), End> {
        debug!(%error, "cannot read the log for a subscriber; trying again");
        sleep(PAUSE).await;
        self.socket.receive_waiting()
    }
}

fn outdated_cursor() -> Bytes {
    event::info_frame("OutdatedCursor", Some("Requested cursor exceeded limit. Possibly missing events"))
}
