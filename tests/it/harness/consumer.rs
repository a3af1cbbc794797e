//! A consumer of the event stream that keeps every frame it sees.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use atproto::commit::Commit;
use atproto::crypto::PublicKey;
use atproto::event::{Event, Frame};
use atproto::syntax::Did;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

/// Bytes that the kernel takes for a consumer that does not read.
const NARROW: u32 = 16 * 1024;

/// A subscription.
#[derive(Debug)]
pub(crate) struct Consumer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// A numbered event and the bytes it came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    /// Its number.
    pub(crate) seq: i64,
    /// The event.
    pub(crate) event: Event,
    /// The frame.
    pub(crate) bytes: Bytes,
}

impl Consumer {
    /// Subscribes at a server (`http://…`), from after `cursor` or from now.
    ///
    /// # Errors
    /// The server cannot be reached or does not upgrade.
    pub(crate) async fn connect(origin: &str, cursor: Option<i64>) -> Result<Self> {
        let (socket, _) = connect_async(url(origin, cursor)).await?;
        Ok(Self { socket })
    }

    /// As [`Consumer::connect`], with little room for what is not read yet.
    ///
    /// # Errors
    /// As [`Consumer::connect`].
    pub(crate) async fn connect_narrowly(origin: &str, cursor: Option<i64>) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(NARROW)?;
        let address = origin.trim_start_matches("http://").parse()?;
        let stream = MaybeTlsStream::Plain(socket.connect(address).await?);
        let (socket, _) = client_async(url(origin, cursor), stream).await?;
        Ok(Self { socket })
    }

    /// The next numbered event, within `limit`.
    ///
    /// # Errors
    /// The stream ends, sends something else, or nothing in time.
    pub(crate) async fn next(&mut self, limit: Duration) -> Result<Received> {
        let deadline = Instant::now() + limit;
        loop {
            let message = timeout_at(deadline, self.socket.next()).await.context("no event in time")?;
            match message.context("the stream ends")?? {
                Message::Binary(bytes) => return receive(bytes),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("the stream sends {other:?}"),
            }
        }
    }

    /// All events up to the one numbered `seq`, within `limit`.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub(crate) async fn until(&mut self, seq: i64, limit: Duration) -> Result<Vec<Received>> {
        let deadline = Instant::now() + limit;
        let mut events = Vec::new();
        while events.last().is_none_or(|last: &Received| last.seq < seq) {
            let left = deadline.saturating_duration_since(Instant::now());
            events.push(self.next(left).await.with_context(|| format!("after {} of {seq} events", events.len()))?);
        }
        Ok(events)
    }

    /// All events up to the end of the stream, each within `limit`, and how it ends.
    pub(crate) async fn rest(&mut self, limit: Duration) -> (Vec<Received>, anyhow::Error) {
        let mut events = Vec::new();
        loop {
            match self.next(limit).await {
                Ok(received) => events.push(received),
                Err(end) => return (events, end),
            }
        }
    }

    /// Ends the subscription.
    pub(crate) async fn close(mut self) {
        // Whether the server hears of it does not matter.
        let _ = self.socket.close(None).await;
        let _ = self.socket.flush().await;
    }
}

fn url(origin: &str, cursor: Option<i64>) -> String {
    let origin = origin.replacen("http", "ws", 1);
    let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    format!("{origin}/xrpc/com.atproto.sync.subscribeRepos{query}")
}

fn receive(bytes: Bytes) -> Result<Received> {
    match Frame::decode(&bytes)? {
        Frame::Event { seq, event } => Ok(Received { seq, event, bytes }),
        other => bail!("the stream sends {other:?}"),
    }
}

/// Checks that every commit of `did` among `events` verifies, and that `since` and `prevData` name the one before it; a
/// `#sync` starts the chain anew.
///
/// # Panics
/// If not.
pub(crate) fn assert_unbroken_chain(events: &[Received], did: &Did, key: &PublicKey) {
    let mut before: Option<Commit> = None;
    for received in events.iter().filter(|received| received.event.did() == did) {
        match &received.event {
            Event::Commit(event) => {
                let commit = event.verify(Some(key)).unwrap();
                let expected = before.map(|before| (before.rev, before.data)).unzip();
                assert_eq!((event.since, event.prev_data), expected, "seq {}", received.seq);
                before = Some(commit);
            }
            Event::Sync(event) => before = Some(event.verify(Some(key)).unwrap()),
            Event::Identity(_) | Event::Account(_) => {}
        }
    }
}
