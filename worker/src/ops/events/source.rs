//! Where events come from: the stream, over a socket, or the log itself.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use atproto::event::{self, MAX_FRAME_LEN};
use common::http;
use common::sequencer::{PageLimit, Sequencer};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use url::Url;

/// Events read from the log at a time.
const PAGE: PageLimit = PageLimit::of(500);
/// How long a server may take to begin.
const START: Duration = Duration::from_secs(20);
/// The stream's path at a server.
const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";

/// A source of frames.
pub(super) enum Source {
    /// A subscription.
    Socket(Box<Socket>),
    /// The log in the database.
    Log(Log),
}

/// Why there are no more frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// All that was there has been read.
    CaughtUp,
}

impl Source {
    /// The next frame.
    ///
    /// # Errors
    /// If the source breaks off.
    pub(super) async fn next(&mut self) -> anyhow::Result<Result<Bytes, End>> {
        match self {
            Self::Socket(socket) => socket.next().await,
            Self::Log(log) => log.next().await,
        }
    }
}

/// A subscription. It has caught up when nothing comes for a while.
pub(super) struct Socket {
    stream: WebSocketStream<http::Upgraded>,
    idle: Duration,
}

impl Socket {
    /// Subscribes at a server from after `cursor`.
    ///
    /// # Errors
    /// If the server cannot be reached, or does not upgrade.
    pub(super) async fn open(server: &Url, cursor: i64, idle: Duration) -> anyhow::Result<Self> {
        let url = stream_url(server, cursor)?;
        let open = async {
            let key = generate_key();
            let client = http::upgrading().context("cannot set TLS up")?;
            let request = client.get(url.clone()).header("connection", "Upgrade").header("upgrade", "websocket");
            let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", &key);
            let response = request.send().await?;
            ensure!(response.status().as_u16() == 101, "the server answered {}", response.status());
            let accepted = response.headers().get("sec-websocket-accept");
            let expected = derive_accept_key(key.as_bytes());
            ensure!(
                accepted.is_some_and(|accepted| accepted == expected.as_str()),
                "the server does not speak WebSocket"
            );
            anyhow::Ok(response.upgrade().await?)
        };
        let socket = timeout(START, open).await.context("the server took too long").flatten();
        let socket = socket.with_context(|| format!("cannot subscribe at {url}"))?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_FRAME_LEN)).max_frame_size(Some(MAX_FRAME_LEN));
        let stream = WebSocketStream::from_raw_socket(socket, Role::Client, Some(config)).await;
        Ok(Self { stream, idle })
    }

    async fn next(&mut self) -> anyhow::Result<Result<Bytes, End>> {
        loop {
            let Ok(message) = timeout(self.idle, self.stream.next()).await else {
                // Whether the server hears of it does not matter.
                let _ = self.stream.close(None).await;
                let _ = self.stream.flush().await;
                return Ok(Err(End::CaughtUp));
            };
            match message.context("the server ended the stream")?.context("the stream broke off")? {
                Message::Binary(frame) => return Ok(Ok(frame)),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => bail!("the server ended the stream"),
                other => bail!("the server sent what is no frame: {other:?}"),
            }
        }
    }
}

/// The stream's URL at a server, which may be given as `https://host`, `wss://host`, or with the path.
fn stream_url(server: &Url, cursor: i64) -> anyhow::Result<Url> {
    let text = server.as_str();
    let scheme = match server.scheme() {
        "wss" => "https",
        "ws" => "http",
        scheme @ ("http" | "https") => scheme,
        other => bail!("{other} is no scheme of a stream: use wss or ws"),
    };
    let mut url: Url = text.replacen(server.scheme(), scheme, 1).parse()?;
    if url.path() == "/" {
        url.set_path(PATH);
    }
    url.query_pairs_mut().append_pair("cursor", &cursor.to_string());
    Ok(url)
}

/// The log in the database, up to the event that was the newest at the start.
pub(super) struct Log {
    sequencer: Sequencer,
    position: i64,
    end: i64,
    page: VecDeque<Bytes>,
}

impl Log {
    /// Starts after `cursor`.
    ///
    /// # Errors
    /// If Postgres fails.
    pub(super) async fn open(sequencer: Sequencer, cursor: i64) -> anyhow::Result<Self> {
        let end = sequencer.newest().await?;
        Ok(Self { sequencer, position: cursor, end, page: VecDeque::new() })
    }

    async fn next(&mut self) -> anyhow::Result<Result<Bytes, End>> {
        loop {
            if let Some(frame) = self.page.pop_front() {
                return Ok(Ok(frame));
            }
            if self.position >= self.end {
                return Ok(Err(End::CaughtUp));
            }
            let page = self.sequencer.list_after(self.position, PAGE).await?;
            if page.end == self.position {
                return Ok(Err(End::CaughtUp));
            }
            self.position = page.end;
            for event in page.events {
                let frame = event::frame(event.kind, &event.body, event.seq);
                self.page.push_back(frame.with_context(|| format!("the body of event {} is none", event.seq))?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_named_in_many_ways() {
        for (server, url) in [
            ("https://pds.test", "https://pds.test/xrpc/com.atproto.sync.subscribeRepos?cursor=7"),
            ("ws://localhost:2583/", "http://localhost:2583/xrpc/com.atproto.sync.subscribeRepos?cursor=7"),
            ("wss://pds.test/stream", "https://pds.test/stream?cursor=7"),
        ] {
            assert_eq!(stream_url(&server.parse().unwrap(), 7).unwrap().as_str(), url);
        }
        assert!(stream_url(&"ftp://pds.test".parse().unwrap(), 7).is_err());
    }
}
