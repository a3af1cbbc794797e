//! A subscriber's socket: frames go out, and what comes in means nothing but that the client is there.

use std::borrow::Cow;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use atproto::event;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt, poll};
use tokio::time::{Instant, timeout};

use crate::xrpc::XrpcError;

/// Why a subscription ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has closed the socket.
    Closed,
    /// The client broke the socket, or sent what is no WebSocket message.
    Broken,
    /// The client has not been heard of for too long.
    Silent,
    /// This replica stops.
    Shutdown,
    /// The client does not keep up.
    TooSlow,
    /// The client is told what is wrong with its request.
    Refused {
        /// Name of the error, for programs.
        error: Cow<'static, str>,
        /// Text for people.
        message: Cow<'static, str>,
    },
}

impl End {
    pub(super) const FUTURE_CURSOR: Self =
        Self::Refused { error: Cow::Borrowed("FutureCursor"), message: Cow::Borrowed("Cursor in the future.") };

    /// The variants in metrics, by [`End::place`].
    pub(super) const LABELS: [&'static str; 6] = ["closed", "broken", "silent", "shutdown", "too_slow", "refused"];

    /// The place of this variant among the labels.
    pub(super) fn place(&self) -> usize {
        match self {
            Self::Closed => 0,
            Self::Broken => 1,
            Self::Silent => 2,
            Self::Shutdown => 3,
            Self::TooSlow => 4,
            Self::Refused { .. } => 5,
        }
    }
}

impl From<XrpcError> for End {
    fn from(error: XrpcError) -> Self {
        Self::Refused { error: error.name, message: error.message.into() }
    }
}

/// Both halves of a socket.
pub(super) struct Socket {
    sink: SplitSink<WebSocket, Message>,
    incoming: SplitStream<WebSocket>,
    /// How long the client may take nothing of what there is for it.
    stall: Duration,
    /// When the client last showed that it is there.
    heard: Instant,
    /// When it was last asked to.
    asked: Instant,
}

impl Socket {
    pub(super) fn new(socket: WebSocket, stall: Duration) -> Self {
        let (sink, incoming) = socket.split();
        let now = Instant::now();
        Self { sink, incoming, stall, heard: now, asked: now }
    }

    /// Sends frames: all go to the socket together, as far as they fit, and must be taken in time.
    pub(super) async fn send(&mut self, frames: impl Iterator<Item = Bytes>) -> Result<(), End> {
        let sink = &mut self.sink;
        let sending = async {
            for frame in frames {
                sink.feed(Message::Binary(frame)).await?;
            }
            sink.flush().await
        };
        taken(sending, self.stall, &mut self.heard).await
    }

    /// Asks a client that has been quiet for so long whether it is there. The answer counts whenever it comes.
    pub(super) async fn ask(&mut self, quiet: Duration) -> Result<(), End> {
        if Instant::now() < self.next_question(quiet) {
            return Ok(());
        }
        self.asked = Instant::now();
        taken(self.sink.send(Message::Ping(Bytes::new())), self.stall, &mut self.heard).await
    }

    /// When [`Socket::ask`] has something to do.
    pub(super) fn next_question(&self, quiet: Duration) -> Instant {
        self.heard.max(self.asked) + quiet
    }

    /// For how long the client has not been heard of.
    pub(super) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Waits for something from the client.
    pub(super) async fn receive(&mut self) -> Result<(), End> {
        check(self.incoming.next().await.as_ref())?;
        self.heard = Instant::now();
        Ok(())
    }

    /// Takes what the client has sent meanwhile, so that its pings are answered and its leaving is noticed.
    pub(super) fn receive_waiting(&mut self) -> Result<(), End> {
        // Ends, however much there is: tokio makes every task pause after some operations.
        while let Some(message) = self.incoming.next().now_or_never() {
            check(message.as_ref())?;
            self.heard = Instant::now();
        }
        Ok(())
    }

    /// Says why this is the end, as far as there is somebody to tell, and waits for the client to close too.
    pub(super) async fn say_goodbye(mut self, end: End) {
        if let Some(close) = self.last_message(end).await
            && self.sink.send(close).await.is_err()
        {
            return;
        }
        // A socket that is closed before all that came was read is reset, and what was sent last may be lost. This also
        // sends the answer to a close of the client's.
        while let Some(Ok(_)) = self.incoming.next().await {}
    }

    /// The closing message; before it, the error frame goes out.
    async fn last_message(&mut self, end: End) -> Option<Message> {
        let close = match end {
            End::Closed | End::Broken => return None,
            End::Silent => CloseFrame { code: close_code::AWAY, reason: "no answer to pings".into() },
            End::Shutdown => CloseFrame { code: close_code::AWAY, reason: "shutting down".into() },
            End::TooSlow => self.error("ConsumerTooSlow", "Stream consumer too slow").await,
            End::Refused { error, message } => self.error(&error, &message).await,
        };
        Some(Message::Close(Some(close)))
    }

    async fn error(&mut self, error: &str, message: &str) -> CloseFrame {
        // If this fails, so does what follows.
        let _ = self.sink.send(Message::Binary(event::error_frame(error, Some(message)))).await;
        CloseFrame { code: close_code::POLICY, reason: error.into() }
    }
}

/// Waits until something is sent. A client that had to be waited for, and then took it, is there.
async fn taken(
    sending: impl Future<Output = Result<(), axum::Error>>,
    stall: Duration,
    heard: &mut Instant,
) -> Result<(), End> {
    let mut sending = pin!(sending);
    let sent = match poll!(&mut sending) {
        Poll::Ready(sent) => sent,
        Poll::Pending => {
            let sent = timeout(stall, sending).await.map_err(|_| End::TooSlow)?;
            *heard = Instant::now();
            sent
        }
    };
    sent.map_err(|_| End::Broken)
}

fn check(message: Option<&Result<Message, axum::Error>>) -> Result<(), End> {
    match message {
        Some(Ok(Message::Close(_))) => Err(End::Closed),
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) | None => Err(End::Broken),
    }
}
