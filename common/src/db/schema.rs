//! The schema's version: bringing it up to date, and refusing to run on one that is too old.

use std::collections::HashSet;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use super::PgPool;

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Why a program may not use this database.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Migrations this release needs have not run. Newer ones than it knows are fine.
    #[error("the database lacks the migration {missing}: run `pds-worker migrate` first")]
    TooOld {
        /// Version and name of the first missing migration.
        missing: String,
    },
    /// Postgres did not answer.
    #[error("cannot read the schema version")]
    Storage(#[from] sqlx::Error),
}

/// Runs every migration that has not run yet. Safe to call from several processes at once; needs a direct connection, not
/// a transaction pooler, for its session lock.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    // Of its own, because it is not like the pool's others: building an index, and waiting for another process that
    // migrates, take longer than any request may.
    let mut connection = pool.acquire().await?.detach();
    sqlx::raw_sql("SET statement_timeout = 0").execute(&mut connection).await?;
    // A newer release may have been here first: expand, deploy, contract.
    let migrator = Migrator { ignore_missing: true, ..Migrator::with_migrations(MIGRATOR.migrations.to_vec()) };
    let outcome = migrator.run(&mut connection).await;
    connection.close().await?;
    outcome
}

/// The migrations this release was built with.
#[cfg(feature = "testing")]
pub(crate) fn migrations() -> impl Iterator<Item = &'static sqlx::migrate::Migration> {
    MIGRATOR.iter()
}

/// Checks that every migration this release was built with has run.
///
/// # Errors
/// `TooOld` names the first that is missing, also on an empty database.
pub async fn check_schema(pool: &PgPool) -> Result<(), SchemaError> {
    let applied = applied_versions(&mut *pool.acquire().await?).await?;
    match MIGRATOR.iter().find(|migration| !applied.contains(&migration.version)) {
        None => Ok(()),
        Some(missing) => Err(SchemaError::TooOld { missing: format!("{} ({})", missing.version, missing.description) }),
    }
}

async fn applied_versions(conn: &mut PgConnection) -> Result<HashSet<i64>, sqlx::Error> {
    let known = sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "known!""#);
    if !known.fetch_one(&mut *conn).await? {
        return Ok(HashSet::new());
    }
    let versions = sqlx::query_scalar!("SELECT version FROM _sqlx_migrations WHERE success");
    Ok(versions.fetch_all(conn).await?.into_iter().collect())
}
