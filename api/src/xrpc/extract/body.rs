//! Input: JSON, a stream of bytes, or none.

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::{
    decode, nsid,
    pace::{Pace, TooSlow},
};
use crate::xrpc::{Method, XrpcError, method::DEFAULT_BODY_LIMIT};

/// JSON input as `T`, within the method's body limit.
#[derive(Clone, Copy, Debug)]
pub struct XrpcBody<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for XrpcBody<T> {
    type Rejection = XrpcError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, XrpcError> {
        let limit = request.extensions().get().map_or(DEFAULT_BODY_LIMIT, Method::max_body);
        let nsid = nsid(request.extensions());
        let essence = required_content_type(&request)?;
        if essence != "application/json" {
            return Err(wrong_encoding(&essence));
        }
        let bytes = read_whole(request, limit).await?;
        // Reference: an empty body of a declared JSON type reads as an empty object.
        let json: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(json).map(Self).map_err(|error| {
            if error.is_data() {
                XrpcError::invalid_request(format_args!("Invalid {nsid} input: {error}"))
            } else {
                XrpcError::invalid_request(format_args!("Malformed JSON: {error}"))
            }
        })
    }
}

/// Input that is read as it arrives, of whatever type. It fails with 408 where it comes too slowly.
#[derive(Debug)]
pub struct XrpcStream {
    /// The media type as the caller wrote it.
    pub content_type: String,
    /// The length the caller announced, of the encoded body; absent if the body is content-encoded.
    pub content_length: Option<u64>,
    body: Body,
}

impl<S: Sync> FromRequest<S> for XrpcStream {
    type Rejection = XrpcError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, XrpcError> {
        required_content_type(&request)?;
        let headers = request.headers();
        let encoded = headers.contains_key(http::header::CONTENT_ENCODING);
        Ok(Self {
            content_type: text(headers, &CONTENT_TYPE).unwrap_or_default().to_owned(),
            content_length: content_length(headers).filter(|_| !encoded),
            body: paced(request)?,
        })
    }
}

impl XrpcStream {
    /// The input, if it is of this media type; else 400.
    pub fn of_type(self, essence: &str) -> Result<Self, XrpcError> {
        match media_type(&self.content_type) {
            found if found == essence => Ok(self),
            found => Err(wrong_encoding(&found)),
        }
    }

    /// The media type without its parameters, in lower case.
    pub fn media_type(&self) -> String {
        media_type(&self.content_type)
    }

    /// The decoded bytes; fails with 413 `PayloadTooLarge` past `limit`, or at once if a longer body was announced.
    pub fn limited(self, limit: u64) -> Result<impl Stream<Item = Result<Bytes, XrpcError>> + Send, XrpcError> {
        if self.content_length.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let body = self.body.into_data_stream();
        Ok(stream::try_unfold((body, limit), move |(mut body, left)| async move {
            let Some(piece) = body.next().await.transpose().map_err(unreadable)? else { return Ok(None) };
            let left = left.checked_sub(piece.len() as u64).ok_or_else(too_large)?;
            Ok(Some((piece, (body, left))))
        }))
    }
}

/// 413 `PayloadTooLarge`.
pub(in crate::xrpc) fn too_large() -> XrpcError {
    XrpcError::from_status(StatusCode::PAYLOAD_TOO_LARGE, "request entity too large")
}

/// No input: a body is refused with 400, an empty one is let through.
///
/// Stands last in the handler of a procedure that declares no input. Queries are checked by the dispatcher.
#[derive(Clone, Copy, Debug)]
pub struct NoInput;

impl<S: Sync> FromRequest<S> for NoInput {
    type Rejection = XrpcError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, XrpcError> {
        match presence(&request) {
            Presence::Missing | Presence::Empty => Ok(Self),
            Presence::Chunked if first_byte_absent(Pace::DEFAULT.hold(request.into_body())).await? => Ok(Self),
            Presence::Chunked | Presence::Present => Err(unexpected_body()),
        }
    }
}

pub(in crate::xrpc) fn unexpected_body() -> XrpcError {
    XrpcError::invalid_request("A request body was provided when none was expected")
}

/// What the head of a request says about its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::xrpc) enum Presence {
    Missing,
    /// `Content-Length: 0`.
    Empty,
    /// Something follows, perhaps nothing.
    Chunked,
    Present,
}

pub(in crate::xrpc) fn presence(request: &Request) -> Presence {
    match content_length(request.headers()) {
        Some(0) => Presence::Empty,
        Some(_) => Presence::Present,
        None if request.headers().contains_key(TRANSFER_ENCODING) || !request.body().is_end_stream() => {
            Presence::Chunked
        }
        None => Presence::Missing,
    }
}

async fn first_byte_absent(body: Body) -> Result<bool, XrpcError> {
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        if !piece.map_err(unreadable)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The media type without its parameters; 400 if there is no body or no type.
fn required_content_type(request: &Request) -> Result<String, XrpcError> {
    if presence(request) == Presence::Missing {
        return Err(XrpcError::invalid_request("A request body is expected but none was provided"));
    }
    let essence = text(request.headers(), &CONTENT_TYPE).map(media_type).filter(|essence| !essence.is_empty());
    essence.ok_or_else(|| XrpcError::invalid_request("Request encoding (Content-Type) required but not provided"))
}

/// A media type without its parameters, in lower case.
fn media_type(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

async fn read_whole(request: Request, limit: usize) -> Result<Bytes, XrpcError> {
    // Reference: the name differs from the one a stream gets.
    let too_large =
        || XrpcError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeError", "request entity too large");
    if content_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match Limited::new(paced(request)?, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(unreadable(error)),
    }
}

/// The decoded body of a request that is sent at some speed.
fn paced(request: Request) -> Result<Body, XrpcError> {
    let (parts, body) = request.into_parts();
    decode::decode(&parts.headers, Pace::DEFAULT.hold(body))
}

/// A body that came too slowly, broke off or does not decode; which of the last two is not told apart.
fn unreadable(error: impl Into<axum::BoxError>) -> XrpcError {
    if TooSlow::caused(error.into().as_ref()) {
        return XrpcError::from_status(StatusCode::REQUEST_TIMEOUT, "The request body took too long");
    }
    XrpcError::invalid_request("Unable to read the request body")
}

fn wrong_encoding(essence: &str) -> XrpcError {
    XrpcError::invalid_request(format_args!("Wrong request encoding (Content-Type): {essence}"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_LENGTH)?.parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
