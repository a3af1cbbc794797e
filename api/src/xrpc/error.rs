//! The error envelope: `{"error": <name>, "message": <text>}` with a status.

use std::{borrow::Cow, error::Error as StdError, fmt::Display};

use axum::response::{IntoResponse, Response};
use common::db;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::XrpcJson;

/// An answer other than success, as the caller sees it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name}: {message}")]
pub struct XrpcError {
    /// HTTP status.
    pub status: StatusCode,
    /// Machine-readable name, from the method's lexicon or the status's default.
    pub name: Cow<'static, str>,
    /// Text for people.
    pub message: String,
    /// Further response headers; most errors have none.
    headers: Option<Box<HeaderMap>>,
}

/// The name of an error in the answer's extensions, for the request's log line.
#[derive(Clone, Debug)]
pub(crate) struct ErrorName(pub(crate) Cow<'static, str>);

/// Seconds after which a caller may try again while the database is away.
const RETRY_AFTER_OUTAGE: HeaderValue = HeaderValue::from_static("5");

impl XrpcError {
    /// An error with its own status and name.
    pub fn new(status: StatusCode, name: impl Into<Cow<'static, str>>, message: impl Display) -> Self {
        Self { status, name: name.into(), message: message.to_string(), headers: None }
    }

    /// An error with the default name of its status.
    pub fn from_status(status: StatusCode, message: impl Display) -> Self {
        Self::new(status, default_name(status), message)
    }

    /// 400 `InvalidRequest`.
    pub fn invalid_request(message: impl Display) -> Self {
        Self::from_status(StatusCode::BAD_REQUEST, message)
    }

    /// 400 with a name that the method's lexicon declares.
    pub fn bad_request(name: impl Into<Cow<'static, str>>, message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, name, message)
    }

    /// 401 `AuthenticationRequired`.
    pub fn auth_required(message: impl Display) -> Self {
        Self::from_status(StatusCode::UNAUTHORIZED, message)
    }

    /// 401 with its own name.
    pub fn unauthorized(name: impl Into<Cow<'static, str>>, message: impl Display) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, name, message)
    }

    /// 403 with its own name.
    pub fn forbidden(name: impl Into<Cow<'static, str>>, message: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, name, message)
    }

    /// 502 `UpstreamFailure`.
    pub fn upstream_failure(message: impl Display) -> Self {
        Self::from_status(StatusCode::BAD_GATEWAY, message)
    }

    /// 504 `UpstreamTimeout`.
    pub fn upstream_timeout(message: impl Display) -> Self {
        Self::from_status(StatusCode::GATEWAY_TIMEOUT, message)
    }

    /// A failure that is not the caller's: logs the chain of causes once and tells the caller nothing of it.
    ///
    /// Answers 500, or 503 with `Retry-After` if the cause is that Postgres cannot be reached or has too much to do.
    pub fn internal(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = error.into();
        if db::is_outage(error.as_ref()) || db::is_overload(error.as_ref()) {
            return Self::unavailable(error);
        }
        tracing::error!(error = describe_chain(error.as_ref()), "request failed");
        Self::internal_unlogged()
    }

    /// 503 with `Retry-After`, for a request that may succeed a moment later: logs the chain of causes once and tells the
    /// caller nothing of it.
    pub fn unavailable(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        tracing::warn!(error = describe_chain(error.into().as_ref()), "cannot answer now");
        Self::from_status(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            .with_header(header::RETRY_AFTER, RETRY_AFTER_OUTAGE)
    }

    /// 503 with `Retry-After`, because a service that the request needs failed lately and is left alone for a moment.
    pub fn resting(message: impl Display) -> Self {
        Self::from_status(StatusCode::SERVICE_UNAVAILABLE, message).with_header(header::RETRY_AFTER, RETRY_AFTER_OUTAGE)
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// What a caller sees of an internal failure that was already logged.
    pub(crate) fn internal_unlogged() -> Self {
        Self::from_status(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }
}

impl IntoResponse for XrpcError {
    fn into_response(self) -> Response {
        let envelope = Envelope { error: &self.name, message: &self.message };
        let mut response = (self.status, XrpcJson(envelope)).into_response();
        if let Some(headers) = self.headers {
            response.headers_mut().extend(*headers);
        }
        response.extensions_mut().insert(ErrorName(self.name));
        response
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a str,
    message: &'a str,
}

/// The name of an error that has only a status.
fn default_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "AuthenticationRequired",
        403 => "Forbidden",
        404 => "XRPCNotSupported",
        406 => "NotAcceptable",
        413 => "PayloadTooLarge",
        415 => "UnsupportedMediaType",
        429 => "RateLimitExceeded",
        501 => "MethodNotImplemented",
        502 => "UpstreamFailure",
        503 => "NotEnoughResources",
        504 => "UpstreamTimeout",
        400..=499 => "InvalidRequest",
        _ => "InternalServerError",
    }
}

/// An error with all that is behind it, in one line.
pub(crate) fn describe_chain(error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Maps the variants of a method's error enum to status 400 with the variant's name and text.
///
/// `xrpc_errors!(Error: RepoNotFound, RepoTakendown);` gives `From<Error> for XrpcError`. A variant that is left out does
/// not compile.
macro_rules! xrpc_errors {
    ($error:ident: $($variant:ident),+ $(,)?) => {
        impl From<$error> for $crate::xrpc::XrpcError {
            fn from(error: $error) -> Self {
                let name = match &error {
                    $($error::$variant { .. } => stringify!($variant),)+
                };
                Self::bad_request(name, error)
            }
        }
    };
}
pub(crate) use xrpc_errors;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error("Could not find repo")]
        RepoNotFound,
        #[error("Repo {0} is gone")]
        RepoGone(u8),
    }
    xrpc_errors!(Error: RepoNotFound, RepoGone);

    async fn body(error: XrpcError) -> serde_json::Value {
        let bytes = axum::body::to_bytes(error.into_response().into_body(), 1000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn declared_errors_are_400_with_the_variant_name() {
        let error = XrpcError::from(Error::RepoGone(7));
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        assert_eq!(body(error).await, serde_json::json!({"error": "RepoGone", "message": "Repo 7 is gone"}));
        assert_eq!(XrpcError::from(Error::RepoNotFound).name, "RepoNotFound");
    }

    #[tokio::test]
    async fn internal_errors_tell_nothing() {
        let error = XrpcError::internal(std::io::Error::other("the password is hunter2"));
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        let expected = serde_json::json!({"error": "InternalServerError", "message": "Internal Server Error"});
        assert_eq!(body(error).await, expected);
    }

    #[test]
    fn default_names_follow_the_status() {
        let cases = [
            (400, "InvalidRequest"),
            (401, "AuthenticationRequired"),
            (404, "XRPCNotSupported"),
            (413, "PayloadTooLarge"),
            (409, "InvalidRequest"),
            (501, "MethodNotImplemented"),
            (503, "NotEnoughResources"),
            (599, "InternalServerError"),
        ];
        for (status, name) in cases {
            assert_eq!(default_name(StatusCode::from_u16(status).unwrap()), name);
        }
    }
}
