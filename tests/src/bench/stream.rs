//! Subscriptions to the event stream.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::frame;
use crate::origin::Origin;

/// How long a stream may be silent while events are due.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// A subscription that checks the order of what it gets.
#[derive(Debug)]
pub(crate) struct Subscription {
    socket: WebSocketStream<TcpStream>,
    last: i64,
}

/// An event: its number, and its frame to look at again.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its number.
    pub(crate) seq: i64,
    frame: Bytes,
}

impl Event {
    /// Repository and path of the first record that it is about, if it is a commit.
    pub(crate) fn first_write(&self) -> Option<(&str, &str)> {
        let glance = frame::glance(&self.frame)?;
        Some((glance.repo?, glance.path?))
    }

    /// Bytes of its frame.
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.frame.len()).unwrap_or(u64::MAX)
    }
}

impl Subscription {
    /// Subscribes, from after `cursor` or from now.
    ///
    /// # Errors
    /// The server does not upgrade the connection.
    pub(crate) async fn open(origin: &Origin, cursor: Option<i64>) -> Result<Self> {
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let url = format!("ws://{}/xrpc/com.atproto.sync.subscribeRepos{query}", origin.authority());
        let (socket, _) = client_async(url, origin.connect().await?).await.context("cannot subscribe")?;
        Ok(Self { socket, last: 0 })
    }

    /// The next numbered event.
    ///
    /// # Errors
    /// The stream ends, is silent for too long, or sends an error or an event out of order.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        loop {
            let message = timeout(SILENCE_LIMIT, self.socket.next()).await.context("the event stream is silent")?;
            let Message::Binary(frame) = message.context("the event stream ends")?? else { continue };
            let glance = frame::glance(&frame).context("the event stream sends something that is no frame")?;
            if glance.op != 1 {
                bail!("the event stream sends an error: {}", String::from_utf8_lossy(&frame));
            }
            // `#info` has no number.
            if glance.seq > 0 {
                ensure!(glance.seq > self.last, "event {} comes after {}", glance.seq, self.last);
                self.last = glance.seq;
                return Ok(Event { seq: glance.seq, frame });
            }
        }
    }
}
