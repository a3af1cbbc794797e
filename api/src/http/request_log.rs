//! One line per request. No tokens, addresses, parameters or bodies.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument;

use crate::xrpc::ErrorName;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a caller.
const MAX_ID_LENGTH: usize = 64;

/// What inner layers tell the log line; in the request's extensions.
#[derive(Clone, Default)]
pub(crate) struct RequestSummary(Arc<OnceLock<&'static str>>);

impl RequestSummary {
    /// Names the method that answers.
    pub(crate) fn set_nsid(&self, nsid: &'static str) {
        // Only the first counts; a request is dispatched once.
        let _ = self.0.set(nsid);
    }
}

/// Gives the request an id and a span, and logs how it went.
pub(super) async fn log_request(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let span = tracing::info_span!("request", request_id = id.to_str().unwrap_or_default());
    let summary = RequestSummary::default();
    request.extensions_mut().insert(summary.clone());
    let verb = request.method().clone();
    let probe = matches!(request.uri().path(), "/livez" | "/readyz" | "/xrpc/_health");

    let mut response = next.run(request).instrument(span.clone()).await;

    let _entered = span.enter();
    let nsid = summary.0.get().copied();
    let status = response.status().as_u16();
    let error = response.extensions().get().map(|ErrorName(name)| name.as_ref());
    let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
    if probe {
        tracing::debug!(%verb, nsid, status, error, duration_ms, "request");
    } else {
        tracing::info!(%verb, nsid, status, error, duration_ms, "request");
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The id that a proxy in front gave the request, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        (1..=MAX_ID_LENGTH).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    if let Some(id) = headers.get(REQUEST_ID).filter(plain) {
        return id.clone();
    }
    let id = format!("{:016x}", rand::random::<u64>());
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
}
