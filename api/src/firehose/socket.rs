//! A subscriber's socket: frames go out, and what comes in means nothing but that the client is there.

use std::borrow::Cow;
use std::time::Duration;

use atproto::event;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::time::timeout;

use crate::xrpc::XrpcError;

/// Why a subscription ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has closed the socket.
    Closed,
    /// The client broke the socket, or sent what is no WebSocket message.
    Broken,
    /// This replica stops.
    Shutdown,
    /// The client is told why.
    Refused {
        /// Name of the error, for programs.
        error: Cow<'static, str>,
        /// Text for people.
        message: Cow<'static, str>,
    },
}

impl End {
    pub(super) const FUTURE_CURSOR: Self = Self::refused("FutureCursor", "Cursor in the future.");
    pub(super) const TOO_SLOW: Self = Self::refused("ConsumerTooSlow", "Stream consumer too slow");

    const fn refused(error: &'static str, message: &'static str) -> Self {
        Self::Refused { error: Cow::Borrowed(error), message: Cow::Borrowed(message) }
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
}

impl Socket {
    pub(super) fn new(socket: WebSocket) -> Self {
        let (sink, incoming) = socket.split();
        Self { sink, incoming }
    }

    /// Sends frames. Each must be taken within `stall`.
    pub(super) async fn send(&mut self, frames: impl Iterator<Item = &Bytes>, stall: Duration) -> Result<(), End> {
        for frame in frames {
            taken(self.sink.feed(Message::Binary(Bytes::clone(frame))), stall).await?;
        }
        taken(self.sink.flush(), stall).await
    }

    /// Asks the client whether it is there, without waiting for the answer.
    pub(super) async fn ping(&mut self) -> Result<(), End> {
        self.sink.send(Message::Ping(Bytes::new())).await.map_err(|_| End::Broken)
    }

    /// Waits for something from the client.
    pub(super) async fn receive(&mut self) -> Result<(), End> {
        check(self.incoming.next().await.as_ref())
    }

    /// Takes what the client has sent meanwhile, so that its pings are answered and its leaving is noticed.
    pub(super) fn receive_waiting(&mut self) -> Result<(), End> {
        // Ends, however much there is: tokio makes every task pause after some operations.
        while let Some(message) = self.incoming.next().now_or_never() {
            check(message.as_ref())?;
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
            End::Shutdown => CloseFrame { code: close_code::AWAY, reason: "shutting down".into() },
            End::Refused { error, message } => {
                // If this fails, so does what follows.
                let _ = self.sink.send(Message::Binary(event::error_frame(&error, Some(&message)))).await;
                CloseFrame { code: close_code::POLICY, reason: error.as_ref().into() }
            }
        };
        Some(Message::Close(Some(close)))
    }
}

async fn taken(sending: impl Future<Output = Result<(), axum::Error>>, stall: Duration) -> Result<(), End> {
    match timeout(stall, sending).await {
        Ok(sent) => sent.map_err(|_| End::Broken),
        Err(_) => Err(End::TOO_SLOW),
    }
}

fn check(message: Option<&Result<Message, axum::Error>>) -> Result<(), End> {
    match message {
        Some(Ok(Message::Close(_))) => Err(End::Closed),
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) | None => Err(End::Broken),
    }
}
