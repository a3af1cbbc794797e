//! What surrounds the methods.

use std::{thread, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
use common::{
    clock::Clock,
    config::Config,
    db::{self, PoolSettings},
};
use http::{StatusCode, header};
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
async fn a_server_that_cannot_commit_any_more_is_not_ready() {
    // Its tasks end with the runtime that they were started on.
    let starting = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { state() })
    });
    let response =
        router(&starting.join().unwrap()).oneshot(Request::get("/readyz").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(response).await, "cannot commit any more\n");
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
