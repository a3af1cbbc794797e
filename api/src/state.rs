//! What every handler can ask for.

use std::sync::Arc;

use axum::extract::FromRef;
use common::{clock::Clock, config::Config, db::PgPool};

use crate::http::Shutdown;

/// The services of one server, cheap to clone.
///
/// A handler takes the one it needs: `State<Arc<Config>>`, `State<Clock>`, …
#[derive(Clone, Debug, FromRef)]
pub struct AppState {
    /// Settings.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Postgres; for the probes. Handlers go through the services.
    pub database: PgPool,
    /// The stop signal, and the tasks that a stop waits for.
    pub shutdown: Shutdown,
}
