//! `com.atproto.sync.subscribeRepos`: every event of this server, live or from a cursor.

use axum::RequestExt;
use axum::extract::{Request, State, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};

use crate::firehose::Firehose;
use crate::xrpc::{Method, XrpcError};

/// The method.
pub const METHOD: Method = Method::subscription("com.atproto.sync.subscribeRepos");

/// What a client may send: nothing but control frames.
const MAX_MESSAGE: usize = 1024;
/// A quarter of the default; there is one a subscriber.
const READ_BUFFER: usize = 4096;
/// Bytes written before they go to the socket.
const WRITE_BUFFER: usize = 64 * 1024;

/// Upgrades to a WebSocket; parameters are checked in the stream, where an error is a frame.
pub async fn handle(State(firehose): State<Firehose>, request: Request) -> Response {
    let cursor = cursor(request.uri().query().unwrap_or_default());
    match request.extract::<WebSocketUpgrade, _>().await {
        Ok(upgrade) => upgrade
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .on_upgrade(move |socket| firehose.serve(socket, cursor)),
        Err(rejection) => XrpcError::invalid_request(rejection).into_response(),
    }
}

fn cursor(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "cursor").map(|(_, value)| value.into_owned())
}
