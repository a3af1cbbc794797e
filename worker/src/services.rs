//! The workflows of accounts, as the servers have them.

use std::time::Duration;

use anyhow::Context as _;
use common::account::Accounts;
use common::clock::Clock;
use common::config::Config;
use common::db::PgPool;
use common::http::{GuardedClient, internal};
use common::identity::{DidResolver, PlcClient};
use common::keys::{KeyVault, Keys};
use common::lifecycle::{Lifecycle, Policy, Services};
use common::session::Sessions;

/// How long one exchange with the PLC directory may take.
const PLC_TIMEOUT: Duration = Duration::from_secs(10);

/// The workflows on this database.
///
/// # Errors
/// If the settings ask for what this server cannot do, or TLS cannot be set up.
pub fn lifecycle(config: &Config, clock: &Clock, database: &PgPool) -> anyhow::Result<Lifecycle> {
    let web = GuardedClient::for_documents(&config.fetch).context("cannot set up TLS")?;
    let plc = internal(PLC_TIMEOUT).context("cannot set up TLS")?;
    let plc = PlcClient::new(config.identity.plc_url.clone(), plc).with_read_timeout(config.identity.resolver_timeout);
    let services = Services {
        accounts: Accounts::new(database.clone()),
        keys: Keys::new(database.clone(), KeyVault::from_config(&config.secrets)),
        sessions: Sessions::new(database.clone(), clock.clone()),
        resolver: DidResolver::new(database.clone(), clock.clone(), plc.clone(), web, &config.identity),
        plc,
        clock: clock.clone(),
        pool: database.clone(),
    };
    Ok(Lifecycle::new(services, Policy::from_config(config)?))
}
