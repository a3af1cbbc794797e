//! What every handler can ask for.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use common::{
    account::{Accounts, Invites},
    admin::Administration,
    audit::AuditLog,
    blob::{Blobs, Objects},
    clock::Clock,
    config::Config,
    db::PgPool,
    identity::{DidResolver, HandleResolver},
    keys::Keys,
    lifecycle::{self, Lifecycle, Policy},
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
    limit::Limits,
    pds::StartError,
    xrpc::MethodMetrics,
};

/// The services of one server, cheap to clone: each request does.
///
/// A handler takes the one it needs: `State<Arc<Config>>`, `State<Clock>`, …
#[derive(Clone, Debug)]
pub struct AppState(Arc<Services>);

/// Makes the struct of the services, and hands each out by its type.
macro_rules! services {
    ($($(#[$doc:meta])* $field:ident: $service:ty,)*) => {
        /// The services of an [`AppState`].
        #[derive(Debug)]
        pub struct Services {
            $($(#[$doc])* pub $field: $service,)*
        }

        $(impl FromRef<AppState> for $service {
            fn from_ref(state: &AppState) -> Self {
                state.$field.clone()
            }
        })*
    };
}

services! {
    /// Settings.
    config: Arc<Config>,
    /// The time.
    clock: Clock,
    /// Postgres; for the probes. Handlers go through the services.
    database: PgPool,
    /// The tokens of sessions.
    tokens: SessionTokens,
    /// Accounts.
    accounts: Accounts,
    /// Invitation codes.
    invites: Invites,
    /// What clients keep for their users.
    preferences: Preferences,
    /// What users report.
    reports: Reports,
    /// What operators and moderators did.
    audit: AuditLog,
    /// What operators do to accounts.
    admin: Administration,
    /// Sessions.
    sessions: Sessions,
    /// Signing keys.
    keys: Keys,
    /// DID documents.
    resolver: DidResolver,
    /// Handles of other servers.
    handle_resolver: HandleResolver,
    /// How accounts come and go.
    lifecycle: Lifecycle,
    /// Repositories.
    repos: Repos,
    /// Blobs.
    blobs: Blobs,
    /// The log of events.
    sequencer: Sequencer,
    /// The event stream of this replica.
    firehose: Firehose,
    /// How often clients may ask for something.
    limits: Limits,
    /// What is counted of each method.
    methods: MethodMetrics,
    /// The stop signal, and the tasks that a stop waits for.
    shutdown: Shutdown,
}

impl Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl AppState {
    /// Makes the services, on the current tokio runtime. The committer and the tail of the log start at once.
    ///
    /// # Errors
    /// If the settings ask for what this server cannot do, or TLS cannot be set up.
    pub fn new(config: Config, clock: Clock, database: PgPool) -> Result<Self, StartError> {
        let shutdown = Shutdown::default();
        let services =
            lifecycle::Services::from_config(&config, clock.clone(), database.clone()).map_err(StartError::client)?;
        // A stop waits for what goes on without its caller.
        let services = lifecycle::Services { tasks: shutdown.tasks().clone(), ..services };
        let policy = Policy::from_config(&config).map_err(StartError::Policy)?;
        let objects = Objects::from_config(&config.blobstore);
        let sequencer = Sequencer::new(&database);
        let stream = firehose::Settings::new(config.subscription.backfill_limit, config.subscription.max_buffer);
        let lifecycle = Lifecycle::new(services.clone(), policy);
        let config = Arc::new(config);
        Ok(Self(Arc::new(Services {
            tokens: SessionTokens::new(&config, clock.clone()),
            admin: Administration::new(&services, lifecycle.clone()),
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
            blobs: Blobs::new(database.clone(), objects).with_rules(&config.blob),
            firehose: Firehose::start(sequencer.clone(), clock.clone(), stream, shutdown.clone()),
            lifecycle,
            limits: Limits::start(&config, &clock).map_err(StartError::Limits)?,
            methods: MethodMetrics::default(),
            config,
            clock,
            database,
            sequencer,
            shutdown,
        })))
    }

    /// With another event stream. Only before it is cloned.
    #[cfg(test)]
    pub(crate) fn with_firehose(mut self, firehose: Firehose) -> Self {
        Arc::get_mut(&mut self.0).unwrap().firehose = firehose;
        self
    }
}
