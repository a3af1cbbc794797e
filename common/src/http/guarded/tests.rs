//! The guarded client against servers on this machine, where its rules let it.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{Router, body::Body, response::Redirect, routing::get};
use futures_util::{FutureExt, StreamExt, stream};
use http::HeaderValue;
use tokio::net::TcpListener;

use super::*;
use crate::config::Config;

/// A server on this machine, ended with the test's runtime.
async fn server() -> SocketAddr {
    let endless = || Body::from_stream(stream::repeat(Bytes::from(vec![b'a'; 400])).map(Ok::<_, std::io::Error>));
    let begun = || stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"a"))]);
    let stuck = move || Body::from_stream(begun().chain(stream::pending()));
    let router = Router::new()
        .route("/small", get(|| async { "small" }))
        .route("/large", get(|| async { "a".repeat(2000) }))
        .route("/endless", get(move || async move { endless() }))
        .route("/silent", get(pending::<()>))
        .route("/stuck", get(move || async move { stuck() }))
        .route("/packed", get(|| async { ([("content-encoding", "gzip")], "as it is") }))
        .route("/moved", get(|| async { Redirect::temporary("/small") }))
        .route("/to-silent", get(|| async { Redirect::temporary("/silent") }))
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn open_client() -> GuardedClient {
    let fetch = FetchConfig { disable_ssrf_protection: true, max_response_size: 1000 };
    GuardedClient::for_documents(&fetch).unwrap()
}

fn document_client() -> GuardedClient {
    GuardedClient::for_documents(&Config::for_tests().fetch).unwrap()
}

async fn fetch(path: &str, redirects: u8) -> Result<Document, FetchError> {
    let url = format!("http://{}{path}", server().await).parse().unwrap();
    open_client().fetch(&url, "text/plain", redirects).await
}

#[tokio::test]
async fn documents_come_with_their_status() {
    let document = fetch("/small", 0).await.unwrap();
    assert_eq!((document.status, &document.body[..]), (StatusCode::OK, &b"small"[..]));
    assert_eq!(fetch("/missing", 0).await.unwrap().status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn size_is_bounded_whether_announced_or_not() {
    for path in ["/large", "/endless"] {
        assert!(matches!(fetch(path, 0).await, Err(FetchError::TooLarge { limit: 1000 })), "{path}");
    }
    let url = format!("http://{}/endless", server().await).parse().unwrap();
    let response = open_client().request(Method::GET, &url).unwrap().send().await.unwrap();
    let pieces: Vec<_> = super::super::limited_stream(response, 1000).unwrap().take(50).collect().await;
    assert!(matches!(pieces.iter().find(|piece| piece.is_err()), Some(Err(FetchError::TooLarge { .. }))));
}

#[tokio::test]
async fn nothing_is_unpacked() {
    assert_eq!(&fetch("/packed", 0).await.unwrap().body[..], b"as it is");
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_does_not_end_is_given_up() {
    let client = guarded_builder(Rules::Open).timeout(Duration::from_millis(300)).build().unwrap();
    let client = GuardedClient { client, ..open_client() };
    for path in ["/silent", "/stuck"] {
        let url = format!("http://{}{path}", server().await).parse().unwrap();
        let error = client.fetch(&url, "text/plain", 0).await.unwrap_err();
        assert!(error.is_timeout(), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn one_limit_is_for_the_whole_redirects_included() {
    // Its single requests may take as long as they like.
    let client = guarded_builder(Rules::Open).build().unwrap();
    let client = GuardedClient { client, time_limit: Duration::from_millis(300), ..open_client() };
    for path in ["/to-silent", "/stuck"] {
        let url = format!("http://{}{path}", server().await).parse().unwrap();
        let error = client.fetch(&url, "text/plain", 3).await.unwrap_err();
        assert!(matches!(error, FetchError::Timeout) && error.is_timeout(), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn redirects_are_followed_only_as_far_as_asked() {
    assert!(matches!(fetch("/moved", 0).await, Err(FetchError::Redirect)));
    let document = fetch("/moved", 1).await.unwrap();
    assert_eq!((document.url.path(), &document.body[..]), ("/small", &b"small"[..]));
    assert!(matches!(fetch("/loop", 3).await, Err(FetchError::Redirect)));
}

#[test]
fn every_hop_is_checked_like_the_first_url() {
    let client = document_client();
    let from: Url = "https://a.dev/.well-known/did.json".parse().unwrap();
    let hop = |location: &'static str| {
        let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(location))]);
        client.next_hop(&from, &headers).map(String::from).map_err(|error| format!("{error:?}"))
    };
    for (location, url) in
        [("/did.json", "https://a.dev/did.json"), ("https://b.dev/", "https://b.dev/"), ("//b.dev", "https://b.dev/")]
    {
        assert_eq!(hop(location).as_deref(), Ok(url));
    }
    for (location, blocked) in [
        ("http://a.dev/", "Blocked(Scheme)"),
        ("file:///etc/passwd", "Blocked(Scheme)"),
        ("gopher://a.dev/", "Blocked(Scheme)"),
        ("//169.254.169.254/latest/meta-data", "Blocked(AddressAsHost)"),
        ("https://127.0.0.1/", "Blocked(AddressAsHost)"),
        ("https://2130706433/", "Blocked(AddressAsHost)"),
        ("https://[::ffff:a9fe:a9fe]/", "Blocked(AddressAsHost)"),
        ("https://a.dev:6379/", "Blocked(Port)"),
        ("https://root@a.dev/", "Blocked(Credentials)"),
        ("https://example.com/", "Blocked(Host)"),
        ("https://", "Redirect"),
    ] {
        assert_eq!(hop(location), Err(blocked.to_owned()), "{location}");
    }
    assert!(matches!(client.next_hop(&from, &HeaderMap::new()), Err(FetchError::Redirect)));
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused() {
    let config = Config::for_tests();
    let client = GuardedClient::for_services(&config.fetch, &config.proxy).unwrap();
    let url = format!("https://localhost:{}/small", server().await.port()).parse().unwrap();
    let result = client.fetch(&url, "text/plain", 0).await;
    assert!(matches!(result, Err(FetchError::Blocked(Blocked::NoPublicAddress))), "{result:?}");
}

#[tokio::test]
async fn a_url_that_may_not_be_called_is_never_sent() {
    let url = format!("http://{}/small", server().await).parse().unwrap();
    let result = document_client().fetch(&url, "text/plain", 0).await;
    assert!(matches!(result, Err(FetchError::Blocked(Blocked::Scheme))), "{result:?}");
}

/// Counts the connections to an address.
fn count_connections(listener: TcpListener) -> Arc<AtomicUsize> {
    let counted = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&counted);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    counted
}

/// The part of a public host is played by an address of this machine other than the usual one.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let public = TcpListener::bind((PUBLIC, 0)).await.unwrap();
    let port = public.local_addr().unwrap().port();
    let private = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let reached = count_connections(private);
    let site = Router::new().route("/", get(|| async { "public" }));
    tokio::spawn(async move { axum::serve(public, site).await });

    // First it hides the private address behind a public one, then it has nothing else.
    let turns = AtomicUsize::new(0);
    let lookup = move |_| {
        let turn = turns.fetch_add(1, Ordering::SeqCst);
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), PUBLIC];
        async move { Ok(addresses[..if turn == 0 { 2 } else { 1 }].to_vec()) }.boxed()
    };
    let client = guarded_builder(Rules::Open)
        .pool_max_idle_per_host(0)
        .dns_resolver(PublicResolver::new(lookup, |ip| ip == PUBLIC))
        .build()
        .unwrap();
    let client = GuardedClient { client, ..open_client() };
    let url = format!("http://rebind.test:{port}/").parse().unwrap();
    assert_eq!(&client.fetch(&url, "text/plain", 0).await.unwrap().body[..], b"public");
    let again = client.fetch(&url, "text/plain", 0).await;
    assert!(matches!(again, Err(FetchError::Blocked(Blocked::NoPublicAddress))), "{again:?}");
    assert_eq!(reached.load(Ordering::SeqCst), 0, "the private address was dialled");
}
