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
use crate::firehose::Firehose;

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

/// `/readyz`: send requests here. Fails once the server has been told to stop, while Postgres is away or its schema too
/// old, and while new events do not reach the subscribers: before the first look into the log, and after its reader
/// panicked; and when nothing can be committed any more.
pub(super) async fn ready(
    State(shutdown): State<Shutdown>,
    State(repos): State<Repos>,
    State(database): State<PgPool>,
    State(firehose): State<Firehose>,
) -> Response {
    if !repos.can_commit() {
        return (StatusCode::SERVICE_UNAVAILABLE, "cannot commit any more\n").into_response();
    }
    if shutdown.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match timeout(PATIENCE, db::check_schema(&database)).await {
        Ok(Ok(())) if !firehose.is_following() => {
            (StatusCode::SERVICE_UNAVAILABLE, "event stream not ready\n").into_response()
        }
        Ok(Ok(())) => "ok\n".into_response(),
        Ok(Err(db::SchemaError::TooOld { .. })) => {
            (StatusCode::SERVICE_UNAVAILABLE, "schema too old\n").into_response()
        }
        Ok(Err(db::SchemaError::Storage(_))) | Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "database not available\n").into_response()
        }
    }
}
