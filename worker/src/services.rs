//! The workflows of accounts, as the servers have them.

use anyhow::Context as _;
use common::blob::{Blobs, Collector, Grace, Objects};
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

/// The blobs in this database and store.
pub fn blobs(objects: Objects, database: &PgPool) -> Blobs {
    Blobs::new(database.clone(), objects)
}

/// What removes blobs that nobody will need.
pub fn blob_collector(config: &Config, objects: &Objects, database: &PgPool) -> Collector {
    Collector::new(database.clone(), objects.clone(), Grace::from_config(&config.blob))
}
