//! HTTP around the methods: plain routes, CORS, compression, the log line, the accept loop.

mod byte_range;
mod client_ip;
mod compression;
mod connection;
mod cors;
mod language;
mod metrics;
mod plain;
mod probes;
mod request_log;
mod serve;
mod shutdown;
#[cfg(test)]
mod tests;
mod well_known;

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use byte_range::Wanted;
pub use client_ip::ClientIp;
pub(crate) use compression::AsItIs;
pub(crate) use connection::Limits;
pub use language::PreferredLanguages;
pub(crate) use metrics::metrics_router;
pub(crate) use request_log::RequestSummary;
pub(crate) use serve::serve;
pub use shutdown::Shutdown;

use crate::{
    state::AppState,
    xrpc::{self, Dispatcher, XrpcError},
};

/// Everything this server answers.
///
/// Layers from the outside in: log line, panics, compression; then, for all but routes with their own rules, CORS.
pub(crate) fn router(state: &AppState) -> Router {
    Router::new()
        .route("/", get(plain::banner))
        .route("/robots.txt", get(plain::robots))
        .route("/xrpc/_health", get(probes::health))
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/.well-known/atproto-did", get(well_known::atproto_did))
        .with_state(state.clone())
        .merge(Router::new().fallback(xrpc_or_not_found).with_state(xrpc::routes().with_state(state)))
        .layer(middleware::from_fn(cors::allow_any_origin))
        .layer(compression::layer())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(request_log::log_request))
}

async fn xrpc_or_not_found(State(dispatcher): State<Dispatcher>, request: Request) -> Response {
    let path = request.uri().path();
    match path.strip_prefix("/xrpc/").map(str::to_owned) {
        Some(name) => dispatcher.dispatch(&name, request).await,
        None => not_found(),
    }
}

fn not_found() -> Response {
    const PAGE: &str =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<title>Not Found</title>\n<p>Nothing is here.</p>\n</html>\n";
    (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

/// The panic itself was reported by the panic hook.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    XrpcError::internal_unlogged().into_response()
}
