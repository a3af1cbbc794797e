//! What every handler can ask for.

use std::sync::Arc;

use axum::extract::FromRef;
use common::{
    account::{Accounts, Invites},
    audit::AuditLog,
    blob::Blobs,
    clock::Clock,
    config::Config,
    db::PgPool,
    identity::{DidResolver, HandleResolver},
    keys::Keys,
    lifecycle::{Lifecycle, Policy, Services},
    preference::Preferences,
    repo::Repos,
    report::Reports,
    sequencer::Sequencer,
    session::Sessions,
};

use crate::{
    auth::SessionTokens,
    firehose::{self, Firehose},
    http::Shutdown,
    pds::StartError,
    xrpc::MethodMetrics,
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
    /// Accounts.
    pub accounts: Accounts,
    /// Invitation codes.
    pub invites: Invites,
    /// What clients keep for their users.
    pub preferences: Preferences,
    /// What users report.
    pub reports: Reports,
    /// What operators and moderators did.
    pub audit: AuditLog,
    /// Sessions.
    pub sessions: Sessions,
    /// Signing keys.
    pub keys: Keys,
    /// DID documents.
    pub resolver: DidResolver,
    /// Handles of other servers.
    pub handle_resolver: HandleResolver,
    /// How accounts come and go.
    pub lifecycle: Lifecycle,
    /// Repositories.
    pub repos: Repos,
    /// Blobs.
    pub blobs: Blobs,
    /// The log of events.
    pub sequencer: Sequencer,
    /// The event stream of this replica.
    pub firehose: Firehose,
    /// What is counted of each method.
    pub methods: MethodMetrics,
    /// The stop signal, and the tasks that a stop waits for.
    pub shutdown: Shutdown,
}

impl AppState {
    /// Makes the services, on the current tokio runtime. The committer and the tail of the log start at once.
    ///
    /// # Errors
    /// If the settings ask for what this server cannot do, or TLS cannot be set up.
    pub fn new(config: Config, clock: Clock, database: PgPool) -> Result<Self, StartError> {
        let shutdown = Shutdown::default();
        let services = Services::from_config(&config, clock.clone(), database.clone()).map_err(StartError::client)?;
        // A stop waits for what goes on without its caller.
        let services = Services { tasks: shutdown.tasks().clone(), ..services };
        let policy = Policy::from_config(&config).map_err(StartError::Policy)?;
        let sequencer = Sequencer::new(&database);
        let stream = firehose::Settings::new(config.subscription.backfill_limit, config.subscription.max_buffer);
        Ok(Self {
            tokens: SessionTokens::new(&config, clock.clone()),
            accounts: services.accounts.clone(),
            invites: Invites::new(database.clone(), clock.clone(), &config.service, &config.invites),
            preferences: Preferences::new(database.clone(), clock.clone()),
            reports: Reports::new(database.clone(), clock.clone()),
            audit: AuditLog::new(database.clone()),
            sessions: services.sessions.clone(),
            resolver: services.resolver.clone(),
            handle_resolver: services.handle_resolver.clone(),
            keys: services.keys.clone(),
            repos: Repos::new(database.clone(), services.keys.clone(), clock.clone()),
            blobs: Blobs::new(database.clone()),
            firehose: Firehose::start(sequencer.clone(), clock.clone(), stream, shutdown.clone()),
            lifecycle: Lifecycle::new(services, policy),
            methods: MethodMetrics::default(),
            config: Arc::new(config),
            clock,
            database,
            sequencer,
            shutdown,
        })
    }
}
