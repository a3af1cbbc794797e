//! What these tests start from: a log, replicas that serve it, and clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use atproto::data::Cid;
use atproto::event::{CommitEvent, Event, Frame, IdentityEvent};
use atproto::syntax::{Datetime, Did, Tid};
use axum::body::Bytes;
use common::clock::Clock;
use common::config::Config;
use common::db::AccountId;
use common::telemetry::metrics::Exposition;
use common::testing::{self, TestDb, seed};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::firehose::{Firehose, Settings};
use crate::http;
use crate::state::AppState;

/// How long anything here may take before the test fails.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// How long a replica may take to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

pub(super) const DAY: Duration = Duration::from_hours(24);

/// The settings of a production server.
pub(super) fn settings() -> Settings {
    Settings::new(DAY, 500)
}

/// A log, and an account whose events it holds.
pub(super) struct Log {
    pub(super) db: TestDb,
    pub(super) account: AccountId,
    pub(super) did: Did,
}

impl Log {
    pub(super) async fn create() -> Self {
        let db = TestDb::create().await;
        let account = seed::account(&db.pool(), "alice.test").await;
        Self { db, account, did: seed::did_of("alice.test").parse().unwrap() }
    }

    /// Appends so many events, each by a statement of its own.
    pub(super) async fn append(&self, events: usize) {
        for _ in 0..events {
            self.append_all(&[self.identity()]).await;
        }
    }

    /// Appends events by one statement; gives the seq of the last.
    pub(super) async fn append_all(&self, events: &[Event]) -> i64 {
        testing::log::append(&self.db.pool(), self.account, events).await
    }

    pub(super) fn identity(&self) -> Event {
        Event::Identity(IdentityEvent { did: self.did.clone(), handle: None, time: Datetime::from_unix_millis(0) })
    }

    /// A commit with a megabyte of blocks.
    pub(super) fn large_event(&self) -> Event {
        Event::Commit(CommitEvent {
            repo: self.did.clone(),
            commit: Cid::dag_cbor(b""),
            rev: Tid::from_micros(1, 0),
            since: None,
            prev_data: None,
            ops: Vec::new(),
            blocks: Bytes::from(vec![0; 1_000_000]),
            time: Datetime::from_unix_millis(0),
        })
    }
}

/// A replica.
pub(super) struct Replica {
    pub(super) address: SocketAddr,
    pub(super) state: AppState,
    server: JoinHandle<()>,
}

impl Replica {
    pub(super) async fn start(log: &Log) -> Self {
        Self::start_with(log, settings(), Clock::system()).await
    }

    pub(super) async fn start_with(log: &Log, settings: Settings, clock: Clock) -> Self {
        let state = AppState::new(Config::for_tests(), clock.clone(), log.db.other_pool()).unwrap();
        let firehose = Firehose::start(state.sequencer.clone(), clock, settings, state.shutdown.clone());
        let state = state.with_firehose(firehose);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = http::Limits::with_grace(SHUTDOWN_GRACE);
        let serving = http::serve(listener, http::router(&state), state.shutdown.clone(), limits);
        Self { address, state, server: tokio::spawn(serving) }
    }

    /// Subscribes; `query` is what comes after the question mark.
    pub(super) async fn subscribe(&self, query: &str) -> Client {
        Client::connect(TcpStream::connect(self.address).await.unwrap(), query).await
    }

    pub(super) async fn subscribe_after(&self, cursor: i64) -> Client {
        self.subscribe(&format!("cursor={cursor}")).await
    }

    /// Subscribes with little room for what is not read.
    pub(super) async fn subscribe_narrowly(&self, cursor: i64) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        Client::connect(socket.connect(self.address).await.unwrap(), &format!("cursor={cursor}")).await
    }

    /// Waits until no subscription goes on; clients may still have to read their end.
    pub(super) async fn deserted(&self) {
        timeout(LIMIT, self.state.firehose.ring.deserted()).await.expect("subscriptions end in time");
    }

    /// Status and text of `/readyz`.
    pub(super) async fn readiness(&self) -> (u16, String) {
        #[expect(clippy::disallowed_methods, reason = "a test calls its own server")]
        let response = reqwest::get(format!("http://{}/readyz", self.address)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The stream's metrics.
    pub(super) fn metrics(&self) -> String {
        let mut text = Exposition::default();
        self.state.firehose.expose(&mut text);
        text.finish()
    }

    pub(super) fn request_stop(&self) {
        self.state.shutdown.request();
    }

    /// Waits until the replica has stopped.
    pub(super) async fn stopped(mut self) {
        timeout(LIMIT, &mut self.server).await.expect("the replica stops in time").unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.state.shutdown.request();
    }
}

/// A subscription.
pub(super) struct Client {
    pub(super) socket: WebSocketStream<TcpStream>,
}

/// An event and the bytes it came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Received {
    pub(super) seq: i64,
    pub(super) bytes: Bytes,
}

/// How a stream ends.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Goodbye {
    /// Name and text of the error frame.
    pub(super) error: Option<(String, String)>,
    /// Code and reason of the close.
    pub(super) close: (u16, String),
}

impl Goodbye {
    /// The end of a stream that was refused.
    pub(super) fn refusal(name: &str, message: &str) -> Self {
        Self { error: Some((name.to_owned(), message.to_owned())), close: (1008, name.to_owned()) }
    }
}

impl Client {
    pub(super) async fn connect(stream: TcpStream, query: &str) -> Self {
        let url = format!("ws://{}/xrpc/com.atproto.sync.subscribeRepos?{query}", stream.peer_addr().unwrap());
        let (socket, _) = timeout(LIMIT, client_async(url, stream)).await.expect("an upgrade in time").unwrap();
        Self { socket }
    }

    pub(super) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// What comes next; `None` at the end of the socket.
    pub(super) async fn next(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        timeout(LIMIT, self.socket.next()).await.expect("a message in time")
    }

    pub(super) async fn next_frame(&mut self) -> (Frame, Bytes) {
        match self.next().await.expect("an open socket").expect("a sound socket") {
            Message::Binary(bytes) => (Frame::decode(&bytes).expect("a frame"), bytes),
            other => panic!("not a frame: {other:?}"),
        }
    }

    pub(super) async fn next_event(&mut self) -> Received {
        match self.next_frame().await {
            (Frame::Event { seq, .. }, bytes) => Received { seq, bytes },
            (other, _) => panic!("not an event: {other:?}"),
        }
    }

    /// So many events.
    pub(super) async fn events(&mut self, count: usize) -> Vec<Received> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next_event().await);
        }
        events
    }

    /// Events up to the one numbered `last`; panics if they are not exactly the ones from `first` on.
    pub(super) async fn expect_exactly(&mut self, first: i64, last: i64) -> Vec<Received> {
        let events = self.events(usize::try_from(last - first + 1).unwrap()).await;
        let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (first..=last).collect::<Vec<_>>());
        events
    }

    /// Events with exactly these numbers.
    pub(super) async fn expect_seqs(&mut self, seqs: &[i64]) {
        let events = self.events(seqs.len()).await;
        assert!(events.iter().map(|event| event.seq).eq(seqs.iter().copied()), "{seqs:?}: {events:?}");
    }

    /// The end of the stream, which must come next.
    pub(super) async fn goodbye(&mut self) -> Goodbye {
        let (events, goodbye) = self.rest().await;
        assert_eq!(events, []);
        goodbye
    }

    /// Everything up to the end of the stream.
    pub(super) async fn rest(&mut self) -> (Vec<Received>, Goodbye) {
        let (mut events, mut error) = (Vec::new(), None);
        loop {
            match self.next().await.expect("a close").expect("a sound socket") {
                Message::Binary(bytes) => match Frame::decode(&bytes).expect("a frame") {
                    Frame::Event { seq, .. } => events.push(Received { seq, bytes }),
                    Frame::Error { error: name, message } => error = Some((name, message.unwrap_or_default())),
                    other @ Frame::Info { .. } => panic!("neither event nor end: {other:?}"),
                },
                Message::Close(Some(close)) => {
                    let close = (close.code.into(), close.reason.to_string());
                    return (events, Goodbye { error, close });
                }
                other => panic!("neither event nor end: {other:?}"),
            }
        }
    }
}
