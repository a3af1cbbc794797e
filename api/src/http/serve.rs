//! The accept loop.
//!
//! Our own, because slow clients, idle connections and HTTP/2 need limits that `axum::serve` does not set.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Shutdown;

/// How long a connection may be idle, and how long it may take to send a request's head.
const KEEP_ALIVE: Duration = Duration::from_secs(90);
/// How often an HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;
/// Pause after an accept failed for want of resources, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until a stop is requested, then lets requests and tracked tasks finish for at most `grace`.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown, grace: Duration) {
    let connections = GracefulShutdown::new();
    // Ends what is still open when the grace is over.
    let abort = CancellationToken::new();
    let _abort_on_return = abort.clone().drop_guard();
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => spawn_connection(stream, peer, router.clone(), &connections, abort.clone()),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let finished = async {
        connections.shutdown().await;
        shutdown.tasks().wait().await;
    };
    if tokio::time::timeout(grace, finished).await.is_err() {
        tracing::warn!(grace_ms = grace.as_millis(), "stopped before every request and socket was finished");
    }
}

fn spawn_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    connections: &GracefulShutdown,
    abort: CancellationToken,
) {
    let watcher = connections.watcher();
    tokio::spawn(async move {
        // Answers are written whole; waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        // Nothing else limits how long a client may stay silent before its first byte.
        if !matches!(tokio::time::timeout(KEEP_ALIVE, stream.readable()).await, Ok(Ok(()))) {
            return;
        }
        let service = hyper::service::service_fn(move |request| answer(router.clone(), peer, request));
        let builder = connection_builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        tokio::select! {
            () = abort.cancelled() => {}
            // A client that went away is not an error of ours.
            _ = watcher.watch(connection) => {}
        }
    });
}

fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(KEEP_ALIVE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .max_concurrent_streams(HTTP2_STREAMS)
        .enable_connect_protocol();
    builder
}

async fn answer(router: Router, peer: SocketAddr, request: http::Request<Incoming>) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
