//! The workflows of accounts, as the servers have them.

use anyhow::Context as _;
use common::blob::{Collector, Objects};
use common::clock::Clock;
use common::config::Config;
use common::db::PgPool;
use common::lifecycle::{Lifecycle, Policy, Services};

/// The workflows on this database.
///
/// # Errors
/// If the settings ask for what this server cannot do, or TLS cannot be set up.
pub fn lifecycle(config: &Config, clock: &Clock, database: &PgPool) -> anyhow::Result<Lifecycle> {
    let services = Services::from_config(config, clock.clone(), database.clone()).context("cannot set up TLS")?;
    Ok(Lifecycle::new(services, Policy::from_config(config)?))
}

/// What removes blobs that nobody will need.
pub fn blob_collector(config: &Config, database: &PgPool) -> Collector {
    Collector::new(database.clone(), Objects::from_config(&config.blobstore), config.blob.unreferenced_ttl)
}
