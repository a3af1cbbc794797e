//! `com.atproto.sync.subscribeRepos`: every event of this server, live or from a cursor.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{State, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::USER_AGENT;
use serde::Deserialize;

use crate::firehose::{Client, Firehose};
use crate::http::ClientIp;
use crate::xrpc::{Method, XrpcError, XrpcQuery};

/// The method.
pub const METHOD: Method = Method::subscription("com.atproto.sync.subscribeRepos");

/// What a client may send: nothing but control frames.
const MAX_MESSAGE: usize = 1024;
/// A small part of the default; there is one a subscriber.
const READ_BUFFER: usize = 4096;
/// Bytes written before they go to the socket. The buffer keeps its size, so this, too, counts once a subscriber.
const WRITE_BUFFER: usize = 32 * 1024;

/// Where to begin.
#[derive(Deserialize)]
pub struct Params {
    /// The seq of the last event the client has; without it, the stream begins now.
    cursor: Option<i64>,
}

/// Upgrades to a WebSocket. Wrong parameters are told in the stream, by a frame.
pub async fn handle(
    State(firehose): State<Firehose>,
    ClientIp(ip): ClientIp,
    headers: HeaderMap,
    params: Result<XrpcQuery<Params>, XrpcError>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return XrpcError::invalid_request(rejection).into_response(),
    };
    let cursor = params.map(|XrpcQuery(Params { cursor })| cursor);
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    let subscriber = firehose.expect(Client { ip, agent });
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .on_upgrade(move |socket| subscriber.serve(socket, cursor))
}
