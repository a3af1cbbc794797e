//! `pds-worker migrate`: brings the database's schema up to date.

use std::time::Duration;

use anyhow::Context as _;
use common::config::Config;
use common::db::{self, PoolSettings};

/// How long to wait for a database that is only just starting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the migrations that have not run yet. They are safe while servers of the release before are running.
///
/// Needs only `PDS_DATABASE_URL`, of a role that may make tables. Does nothing on a schema that is up to date.
///
/// # Errors
/// If the setting is bad, the database does not answer, or a migration fails; those before it stay.
pub async fn migrate() -> anyhow::Result<()> {
    let database = Config::database_from_env()?;
    let settings = PoolSettings { url: database.url, max_connections: 1, acquire_timeout: CONNECT_TIMEOUT };
    let pool = db::connect(&settings, "pds-worker migrate").context("cannot use the database")?;
    db::migrate(&pool).await.context("cannot migrate the database")
}
