//! What the workflows work with.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::account::{Accounts, EmailRules};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::PgPool;
use crate::http::{GuardedClient, internal};
use crate::identity::{DidResolver, HandleResolver, PlcClient};
use crate::keys::{KeyVault, Keys};
use crate::session::Sessions;

/// How long one exchange with the PLC directory may take.
const PLC_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the appview may take to look a handle up.
const APPVIEW_TIMEOUT: Duration = Duration::from_secs(3);

/// What the workflows work with.
#[derive(Clone, Debug)]
pub struct Services {
    /// Postgres.
    pub pool: PgPool,
    /// The time.
    pub clock: Clock,
    /// Accounts.
    pub accounts: Accounts,
    /// Signing keys.
    pub keys: Keys,
    /// Sessions.
    pub sessions: Sessions,
    /// The PLC directory.
    pub plc: PlcClient,
    /// DID documents.
    pub resolver: DidResolver,
    /// Handles of other domains.
    pub handle_resolver: HandleResolver,
    /// What goes on when its caller has left. Whoever stops the program waits for it.
    pub tasks: TaskTracker,
}

impl Services {
    /// The services of a program with these settings.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn from_config(config: &Config, clock: Clock, pool: PgPool) -> Result<Self, reqwest::Error> {
        let web = GuardedClient::for_documents(&config.fetch)?;
        let plc = PlcClient::new(config.identity.plc_url.clone(), internal(PLC_TIMEOUT)?)
            .with_read_timeout(config.identity.resolver_timeout);
        // It has most handles at hand.
        let appview = match &config.upstreams.appview {
            Some(appview) => Some((appview.url.clone(), internal(APPVIEW_TIMEOUT)?)),
            None => None,
        };
        let emails = EmailRules::new(config.email.disposable_domains.clone());
        Ok(Self {
            accounts: Accounts::new(pool.clone()).with_email_rules(emails),
            keys: Keys::new(pool.clone(), KeyVault::from_config(&config.secrets)),
            sessions: Sessions::new(pool.clone(), clock.clone()).with_address_memory(&config.secrets),
            resolver: DidResolver::new(pool.clone(), clock.clone(), plc.clone(), web.clone(), &config.identity),
            handle_resolver: HandleResolver::new(web, appview, &config.identity),
            tasks: TaskTracker::new(),
            plc,
            clock,
            pool,
        })
    }
}
