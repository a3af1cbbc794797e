//! Connections at their limits, and at the server's end.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::Limits;
use crate::http::{Shutdown, serve};

/// Limits that no test reaches.
const WIDE: Limits = Limits::with_grace(Duration::from_mins(1));
/// A limit that a test reaches.
const SHORT: Duration = Duration::from_millis(50);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OTHER: &[u8] = b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n";

/// An accept loop with a slow route, which announces that a request arrived and answers when told to, and an endless one,
/// which announces that it ended.
struct Server {
    address: SocketAddr,
    arrived: Arc<Notify>,
    release: Arc<Notify>,
    dropped: Arc<Notify>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let [arrived, release, dropped] = [(); 3].map(|()| Arc::new(Notify::new()));
        let (tell, wait) = (arrived.clone(), release.clone());
        let slow = async move || {
            tell.notify_one();
            wait.notified().await;
            "done"
        };
        let tell = dropped.clone();
        let endless = async move || Body::from_stream(Endless(tell));
        let router = Router::new().route("/", get(slow)).route("/endless", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let serving = tokio::spawn(serve(listener, router, shutdown.clone(), limits));
        Self { address, arrived, release, dropped, shutdown, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection over which something was sent.
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// A connection whose request is being answered.
    async fn busy(&self) -> TcpStream {
        let stream = self.send(REQUEST).await;
        self.arrived.notified().await;
        stream
    }

    /// A connection whose first request is answered.
    async fn used(&self) -> TcpStream {
        let mut stream = self.send(OTHER).await;
        head(&mut stream).await;
        stream
    }
}

/// The head of the next answer.
async fn head(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

struct Endless(Arc<Notify>);

impl Stream for Endless {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok(Bytes::from_static(&[0; 10_000]))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// What arrives until the server closes the connection, with or without a reset.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_stop_lets_requests_finish() {
    let server = Server::start(WIDE).await;
    let (used, busy) = (server.used().await, server.busy().await);
    server.shutdown.request();
    assert_eq!(rest(used).await, "");
    server.release.notify_one();
    let answer = rest(busy).await;
    assert!(answer.ends_with("done"), "{answer}");
    server.serving.await.unwrap();
    assert_eq!(TcpStream::connect(server.address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

/// Each of these ends with the server, or not before a minute is over, which no test waits for.
#[tokio::test]
async fn a_stop_waits_for_no_connection_without_a_request() {
    for begun in ["", "G", "GET / HTTP/1.1\r\nhost", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let server = Server::start(WIDE).await;
        let begun = server.send(begun.as_bytes()).await;
        let mut again = server.used().await;
        again.write_all(b"GET /no").await.unwrap();
        server.shutdown.request();
        server.serving.await.unwrap();
        drop((begun, again));
    }
}

#[tokio::test]
async fn a_stop_waits_for_tracked_tasks() {
    let server = Server::start(WIDE).await;
    let shutdown = server.shutdown.clone();
    let socket = server.shutdown.tasks().spawn(async move { shutdown.requested().await });
    server.shutdown.request();
    server.serving.await.unwrap();
    assert!(socket.is_finished());
}

#[tokio::test]
async fn the_grace_bounds_a_stop() {
    let server = Server::start(Limits { grace: SHORT, ..WIDE }).await;
    let busy = server.busy().await;
    server.shutdown.request();
    server.serving.await.unwrap();
    assert_eq!(rest(busy).await, "");
}

#[tokio::test]
async fn over_http2_a_stop_lets_requests_finish_too() {
    let server = Server::start(WIDE).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}", server.address);
    assert_eq!(client.get(format!("{url}/none")).send().await.unwrap().status(), 404);
    let request = tokio::spawn(client.get(&url).send());
    server.arrived.notified().await;
    server.shutdown.request();
    server.release.notify_one();
    assert_eq!(request.await.unwrap().unwrap().text().await.unwrap(), "done");
    server.serving.await.unwrap();
}

#[tokio::test]
async fn an_idle_http2_connection_ends_with_the_server() {
    let server = Server::start(WIDE).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    assert_eq!(client.get(format!("http://{}/none", server.address)).send().await.unwrap().status(), 404);
    server.shutdown.request();
    server.serving.await.unwrap();
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let server = Server::start(Limits { head: SHORT, ..WIDE }).await;
    for begun in ["", "G", "GET / HTTP/1.1\r\nhost", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = server.send(begun.as_bytes()).await;
        let mut sent = Vec::new();
        // HTTP/2 begins with the server's settings. The end is what matters.
        let _ = stream.read_to_end(&mut sent).await;
    }
    let mut again = server.used().await;
    again.write_all(b"GET /no").await.unwrap();
    assert_eq!(rest(again).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start(Limits { idle: SHORT, ..WIDE }).await;
    assert_eq!(rest(server.used().await).await, "");
}

#[tokio::test]
async fn a_request_takes_as_long_as_it_takes() {
    let server = Server::start(Limits { head: SHORT, idle: SHORT, stall: SHORT, ..WIDE }).await;
    let busy = server.busy().await;
    // A connection that waits its time out beside it.
    rest(server.connect().await).await;
    server.release.notify_one();
    let answer = rest(busy).await;
    assert!(answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn who_takes_nothing_is_given_up() {
    let server = Server::start(Limits { stall: SHORT, ..WIDE }).await;
    let stalled = server.send(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.dropped.notified().await;
    drop(stalled);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let server = Server::start(Limits { connections: 1, ..WIDE }).await;
    let first = server.used().await;
    let mut second = server.send(OTHER).await;
    let mut byte = [0];
    assert_eq!(second.try_read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    second.read_exact(&mut byte).await.unwrap();
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = Server::start(WIDE).await;
    let long = "a".repeat(70_000);
    let many = "b: c\r\n".repeat(200);
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "431"),
        (format!("GET /none HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), "431"),
        (format!("GET /none HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
        // Endless ones are not read to their end.
        (format!("GET /none HTTP/1.1\r\nhost: a\r\nx: {}", long.repeat(4)), "431"),
        (format!("GET /none?{} HTTP/1.1\r\nhost: a\r\n\r\n", &long[..20_000]), "404"),
    ];
    for (request, status) in cases {
        let mut stream = server.connect().await;
        // The server may close before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
}

#[tokio::test]
async fn a_refusal_reaches_who_sends_everything_first() {
    let server = Server::start(WIDE).await;
    let body = vec![b'a'; 8 << 20];
    for (length, front, end) in
        [("content-length: 8388608", "", ""), ("transfer-encoding: chunked", "800000\r\n", "\r\n0\r\n\r\n")]
    {
        let request = format!("POST /none HTTP/1.1\r\nhost: a\r\n{length}\r\n\r\n{front}");
        let mut stream = server.send(request.as_bytes()).await;
        stream.write_all(&body).await.unwrap();
        stream.write_all(end.as_bytes()).await.unwrap();
        // And the connection is good for another request.
        stream.write_all(OTHER).await.unwrap();
        for _ in 0..2 {
            let answer = head(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_not_read_for_ever() {
    let server = Server::start(WIDE).await;
    let mut stream = server.send(b"POST /none HTTP/1.1\r\nhost: a\r\ncontent-length: 67108864\r\n\r\n").await;
    stream.write_all(&vec![0; 64 << 20]).await.unwrap_err();
}

#[tokio::test]
async fn who_asks_first_hears_of_a_refusal_and_need_not_send_more() {
    let server = Server::start(WIDE).await;
    let request = b"POST /none HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\nexpect: 100-continue\r\n\r\n";
    let mut stream = server.send(request).await;
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    // Some send it all the same.
    stream.write_all(&[b'a'; 9999]).await.unwrap();
    stream.write_all(OTHER).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 404"));
}
