//! Health, for load balancers and operators.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use common::{
    config::Config,
    db::{self, PgPool},
    repo::Repos,
};
use serde_json::json;
use tokio::time::timeout;

use super::Shutdown;

/// How long a probe waits for Postgres.
const PATIENCE: Duration = Duration::from_secs(2);

/// `/xrpc/_health`: the version; 503 if Postgres does not answer.
pub(super) async fn health(State(config): State<Arc<Config>>, State(database): State<PgPool>) -> Response {
    let version = &config.service.version;
    if timeout(PATIENCE, db::is_reachable(&database)).await.unwrap_or(false) {
        Json(json!({ "version": version })).into_response()
    } else {
        let body = Json(json!({ "version": version, "error": "Service Unavailable" }));
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    }
}

/// `/livez`: the process runs. Says nothing of Postgres, so that an outage there restarts nobody.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz`: send requests here. Fails while Postgres is away, its schema is too old, or the server is stopping or broken.
pub(super) async fn ready(
    State(shutdown): State<Shutdown>,
    State(repos): State<Repos>,
    State(database): State<PgPool>,
) -> Response {
    if !repos.can_commit() {
        return (StatusCode::SERVICE_UNAVAILABLE, "cannot commit any more\n").into_response();
    }
    if shutdown.is_requested() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match timeout(PATIENCE, db::check_schema(&database)).await {
        Ok(Ok(())) => "ok\n".into_response(),
        Ok(Err(db::SchemaError::TooOld { .. })) => {
            (StatusCode::SERVICE_UNAVAILABLE, "schema too old\n").into_response()
        }
        Ok(Err(db::SchemaError::Storage(_))) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "database not available\n").into_response()
        }
    }
}
