//! What operators read, on a port of its own: metrics, who is subscribed, and the probes.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use common::telemetry::metrics::{self, Exposition};
use common::{blob, identity};
use tokio::time::timeout;

use super::probes;
use crate::firehose::Firehose;
use crate::state::AppState;

/// How long a scrape waits for Postgres.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the metrics port answers. It has no authentication: keep it within the cluster.
pub(crate) fn metrics_router(state: &AppState) -> Router {
    Router::new()
        .route("/metrics", get(expose))
        .route("/subscribers", get(subscribers))
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .with_state(state.clone())
}

async fn expose(State(state): State<AppState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text(&state).await)
}

async fn text(state: &AppState) -> String {
    let mut text = Exposition::default();
    state.methods.expose(&mut text);
    state.limits.expose(&mut text);
    state.firehose.expose(&mut text);
    state.repos.expose(&mut text);
    identity::expose(&mut text);
    blob::expose(&mut text);
    blob::expose_store(&mut text);
    text.gauge("pds_db_connections", "Connections to Postgres, those for the log aside.", state.database.size());
    text.gauge("pds_db_connections_idle", "Of these, connections that nobody uses.", state.database.num_idle());
    let most = state.database.max_connections();
    text.gauge("pds_db_connections_max", "How many connections there may be.", most);
    if let Ok(Ok(newest)) = timeout(PATIENCE, state.sequencer.newest()).await {
        text.gauge("pds_sequencer_last_seq", "Seq of the newest event.", newest);
        let lag = (newest - state.firehose.position().unwrap_or(0)).max(0);
        text.gauge("pds_firehose_tail_lag_events", "Events that this replica has not read yet.", lag);
    }
    text.finish()
}

/// Every subscriber of this replica: for operators, who may see addresses.
async fn subscribers(State(firehose): State<Firehose>) -> impl IntoResponse {
    Json(firehose.subscribers())
}
