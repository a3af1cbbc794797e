//! What every handler can ask for.

use std::sync::Arc;

use axum::extract::FromRef;
use common::{
    clock::Clock,
    config::Config,
    db::PgPool,
    keys::{KeyVault, Keys, SealingKey},
    repo::Repos,
    sequencer::Sequencer,
};

use crate::{
    auth::SessionTokens,
    firehose::{self, Firehose},
    http::Shutdown,
};

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
    /// The tokens of sessions.
    pub tokens: SessionTokens,
    /// Repositories.
    pub repos: Repos,
    /// The log of events.
    pub sequencer: Sequencer,
    /// The event stream of this replica.
    pub firehose: Firehose,
    /// The stop signal, and the tasks that a stop waits for.
    pub shutdown: Shutdown,
}

impl AppState {
    /// Makes the services, on the current tokio runtime. The committer and the tail of the log start at once.
    pub fn new(config: Config, clock: Clock, database: PgPool) -> Self {
        let vault = KeyVault::new(SealingKey::new(config.secrets.key_encryption_key.expose()));
        let keys = Keys::new(database.clone(), vault);
        let sequencer = Sequencer::new(database.clone());
        let shutdown = Shutdown::default();
        let stream = firehose::Settings {
            backfill_window: config.subscription.backfill_limit,
            max_waiting: config.subscription.max_buffer,
        };
        Self {
            tokens: SessionTokens::new(&config, clock.clone()),
            repos: Repos::new(database.clone(), keys, clock.clone()),
            firehose: Firehose::start(sequencer.clone(), clock.clone(), stream, shutdown.clone()),
            config: Arc::new(config),
            clock,
            database,
            sequencer,
            shutdown,
        }
    }
}
