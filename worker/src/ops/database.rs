//! The database of a command.

use std::time::Duration;

use anyhow::Context as _;
use common::config::{Config, DatabaseConfig};
use common::db::{self, PgPool, PoolSettings};

/// How long to wait for a database that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the database that `PDS_DATABASE_URL` names, which is all these commands need.
///
/// # Errors
/// If the setting is bad, the database does not answer, or its schema is too old.
pub(super) async fn open(command: &str, connections: u32) -> anyhow::Result<PgPool> {
    open_at(Config::database_from_env()?, command, connections).await
}

/// Opens a database.
///
/// # Errors
/// If it does not answer, or its schema is too old.
pub(super) async fn open_at(database: DatabaseConfig, command: &str, connections: u32) -> anyhow::Result<PgPool> {
    let settings = PoolSettings { url: database.url, max_connections: connections, acquire_timeout: CONNECT_TIMEOUT };
    let pool = db::connect(&settings, &format!("pds-worker {command}")).context("cannot use the database")?;
    db::check_schema(&pool).await.context("cannot use the database")?;
    Ok(pool)
}
