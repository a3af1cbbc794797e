//! One connection: what it may send, how long it may be quiet, and how it ends.
//!
//! hyper bounds what a client sends. What it leaves out is bounded here: [`activity`] knows what the connection is at, and
//! by when something has to happen. An alarm looks after that now and then, so a request costs no timer.

mod activity;
mod body;
mod input;
mod socket;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until},
};
use tower::ServiceExt;

use self::{activity::Activity, body::CountedBody, input::InputBody, socket::Socket};

/// Bytes that wait in memory in either direction of an HTTP/1 connection, or to be sent on one HTTP/2 stream. The head of an
/// HTTP/1 request must fit; it may have 100 headers.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of the headers of an HTTP/2 request, as the protocol counts them.
const HTTP2_HEAD_BYTES: u32 = 32 * 1024;
/// Bytes that an HTTP/2 client may send ahead: on one stream, and on all of a connection.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
const HTTP2_WINDOW: u32 = 1024 * 1024;
/// Requests at once on one HTTP/2 connection. How many a client may take back at a high rate is bounded by `h2` itself.
const HTTP2_STREAMS: u32 = 128;
/// How often an HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What a server's connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once, WebSocket ones included.
    pub(crate) connections: usize,
    /// From the first byte of a request's head to its last; also from the opening of a connection to its first byte.
    pub(crate) head: Duration,
    /// Between two requests. Longer than load balancers keep connections to their backends, or they would send requests
    /// into a closing one.
    pub(crate) idle: Duration,
    /// How long a client may take nothing of what there is to send.
    pub(crate) stall: Duration,
    /// How long a connection without requests may take to say farewell when the server stops.
    pub(crate) farewell: Duration,
    /// How long requests may take to finish when the server stops.
    pub(crate) grace: Duration,
}

impl Limits {
    /// The usual limits; `grace` is the operator's.
    pub(crate) const fn with_grace(grace: Duration) -> Self {
        Self {
            connections: 10_000,
            head: Duration::from_secs(15),
            idle: Duration::from_secs(90),
            stall: Duration::from_mins(2),
            farewell: Duration::from_secs(1),
            grace,
        }
    }
}

/// A connection that was just accepted, and its place among those that may be open.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) place: OwnedSemaphorePermit,
}

/// Serves a connection until it ends, is at fault, or the server stops: `stop` asks to finish, its end cuts off.
pub(super) async fn run(accepted: Accepted, router: Router, limits: Limits, mut stop: watch::Receiver<bool>) {
    let Accepted { stream, peer, place } = accepted;
    // Answers are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new(Instant::now()));
    let service = hyper::service::service_fn({
        let activity = Arc::clone(&activity);
        move |request| answer(router.clone(), peer, Arc::clone(&activity), request)
    });
    let socket = TokioIo::new(Socket::new(stream, place, Arc::clone(&activity)));
    let builder = builder();
    let mut connection = pin!(builder.serve_connection_with_upgrades(socket, service));
    let mut alarm = pin!(sleep_until(activity.deadline(&limits, Instant::now())));
    let mut stopping = false;
    loop {
        tokio::select! {
            // A client that went away is not an error of ours.
            _ = connection.as_mut() => return,
            changed = stop.changed() => {
                if changed.is_err() || activity.is_unused() {
                    return;
                }
                stopping = true;
                connection.as_mut().graceful_shutdown();
                alarm.as_mut().reset(Instant::now() + limits.farewell);
            }
            () = alarm.as_mut() => {
                let now = Instant::now();
                let next = if stopping { activity.farewell(&limits, now) } else { Some(activity.deadline(&limits, now)) };
                match next.filter(|next| *next > now) {
                    Some(next) => alarm.as_mut().reset(next),
                    None => return,
                }
            }
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper counts the pause before a head to the head.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .max_header_list_size(HTTP2_HEAD_BYTES)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .max_send_buf_size(BUFFER_BYTES)
        .max_concurrent_streams(HTTP2_STREAMS)
        .enable_connect_protocol();
    builder
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    activity: Arc<Activity>,
    request: http::Request<Incoming>,
) -> Result<http::Response<CountedBody>, Infallible> {
    let counted = activity.begin(&request);
    let mut request = InputBody::of(request, activity).map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| CountedBody::new(body, counted)))
}
