//! What surrounds the methods, and the accept loop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
use common::{
    clock::Clock,
    config::Config,
    db::{self, PoolSettings},
};
use http::{StatusCode, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use super::*;

/// A server without a database.
fn state() -> AppState {
    let mut config = Config::for_tests();
    config.identity.service_handle_domains = (0..100).map(|number| format!(".domain{number}.test")).collect();
    let settings = PoolSettings {
        url: "postgres://127.0.0.1:1/none".into(),
        max_connections: 1,
        acquire_timeout: Duration::from_millis(10),
    };
    AppState::new(config, Clock::system(), db::connect(&settings, "test").unwrap()).unwrap()
}

async fn send(request: http::request::Builder) -> Response {
    router(&state()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn preflights_are_answered_for_every_path() {
    for path in ["/xrpc/com.example.unknown", "/", "/nowhere"] {
        let request = Request::options(path).header("access-control-request-headers", "atproto-proxy,dpop");
        let response = send(request).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(response.headers()["access-control-max-age"], "86400");
        assert_eq!(response.headers()["access-control-allow-headers"], "atproto-proxy,dpop");
        assert!(!response.headers().contains_key("access-control-allow-credentials"));
    }
}

#[tokio::test]
async fn answers_and_errors_are_open_to_any_origin() {
    for path in ["/xrpc/com.atproto.server.describeServer", "/xrpc/bad", "/nowhere"] {
        let response = send(Request::get(path)).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "{path}");
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
        assert!(exposed.contains("DPoP-Nonce") && exposed.contains("RateLimit-Reset"), "{exposed}");
    }
}

#[tokio::test]
async fn plain_pages() {
    let banner = send(Request::get("/")).await;
    assert_eq!(banner.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert!(text(banner).await.contains("AT Protocol"));
    assert!(text(send(Request::get("/robots.txt")).await).await.contains("Allow: /"));
    let missing = send(Request::get("/nowhere")).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(missing.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
}

#[tokio::test]
async fn without_a_database_the_server_lives_but_is_not_ready() {
    assert_eq!(send(Request::get("/livez")).await.status(), StatusCode::OK);
    assert_eq!(send(Request::get("/readyz")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let health = send(Request::get("/xrpc/_health")).await;
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: serde_json::Value = serde_json::from_str(&text(health).await).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(body, serde_json::json!({"version": version, "error": "Service Unavailable"}));
}

#[tokio::test]
async fn long_json_is_compressed_for_those_who_ask() {
    let path = "/xrpc/com.atproto.server.describeServer";
    let packed = send(Request::get(path).header(header::ACCEPT_ENCODING, "gzip, br")).await;
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(!send(Request::get(path)).await.headers().contains_key(header::CONTENT_ENCODING));
    let short = send(Request::get("/robots.txt").header(header::ACCEPT_ENCODING, "gzip")).await;
    assert!(!short.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn request_ids_of_proxies_are_kept() {
    let kept = send(Request::get("/livez").header("x-request-id", "a1-b2")).await;
    assert_eq!(kept.headers()["x-request-id"], "a1-b2");
    for bad in ["a b", "", &"a".repeat(65)] {
        let made = send(Request::get("/livez").header("x-request-id", bad)).await;
        assert_eq!(made.headers()["x-request-id"].len(), 16, "{bad:?}");
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error() {
    async fn panics() -> &'static str {
        panic!("on purpose")
    }
    let router = Router::new().route("/", get(panics)).layer(CatchPanicLayer::custom(panicked));
    let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text(response).await.contains("InternalServerError"));
}

/// An accept loop with one slow route: it announces that a request arrived, and answers when told to.
struct Slow {
    address: SocketAddr,
    arrived: Arc<Notify>,
    release: Arc<Notify>,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

impl Slow {
    async fn start(grace: Duration) -> Self {
        let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (arrived.clone(), release.clone());
        let slow = async move || {
            tell.notify_one();
            wait.notified().await;
            "done"
        };
        let router = Router::new().route("/", get(slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let server = tokio::spawn(serve(listener, router, shutdown.clone(), grace));
        Self { address, arrived, release, shutdown, server }
    }

    /// Sends a request and waits until it is being answered.
    async fn request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        self.arrived.notified().await;
        stream
    }
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_closes_idle_connections() {
    let slow = Slow::start(Duration::from_mins(1)).await;
    let mut idle = TcpStream::connect(slow.address).await.unwrap();
    idle.write_all(b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let mut busy = slow.request().await;

    slow.shutdown.request();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    slow.release.notify_one();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    slow.server.await.unwrap();
    assert_eq!(TcpStream::connect(slow.address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_stop_waits_for_tracked_tasks() {
    let slow = Slow::start(Duration::from_mins(1)).await;
    let shutdown = slow.shutdown.clone();
    let socket = slow.shutdown.tasks().spawn(async move { shutdown.requested().await });
    slow.shutdown.request();
    slow.server.await.unwrap();
    assert!(socket.is_finished());
}

#[tokio::test]
async fn the_grace_bounds_a_stop() {
    let slow = Slow::start(Duration::from_millis(50)).await;
    let mut busy = slow.request().await;
    slow.shutdown.request();
    slow.server.await.unwrap();
    let mut answer = Vec::new();
    // The connection is cut, with or without a reset.
    let _ = busy.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}
