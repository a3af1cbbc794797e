//! The schema's version: bringing it up to date, and refusing to run on one that is too old.
//!
//! Migrations run while servers of the release before are at work. Most are transactions, which wait for no lock longer than
//! any statement does. Those that begin with `-- no-transaction` build an index concurrently, which takes its time; one that
//! was cut off is rebuilt by the next run.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::sleep;

use super::PgPool;

/// Who holds it migrates. Any number will do that nobody else takes.
const MIGRATION_LOCK: i64 = 0x526f_6f6b_6572_7931;
/// How long a process waits before it asks again whether it may.
const TURN_PAUSE: Duration = Duration::from_millis(200);

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

/// Runs every migration that has not run yet, and rebuilds indexes whose build was cut off. Safe to call from several
/// processes at once; needs a direct connection, not a transaction pooler, for its session lock.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    // Of its own, because it is not like the pool's others: building an index takes longer than any request may.
    let mut connection = pool.acquire().await?.detach();
    let outcome = migrate_with(&mut connection).await;
    // Its lock goes with it.
    connection.close().await?;
    outcome
}

async fn migrate_with(conn: &mut PgConnection) -> Result<(), MigrateError> {
    execute(conn, "SET statement_timeout = 0").await?;
    take_turn(conn).await?;
    for alike in MIGRATOR.migrations.chunk_by(|one, next| one.no_tx == next.no_tx) {
        // A migration that waits for a table holds up all who come after it, so it rather fails and is run again. What
        // builds an index beside running servers holds up nobody, and may wait for the longest transaction.
        execute(conn, if alike[0].no_tx { "SET lock_timeout = 0" } else { "RESET lock_timeout" }).await?;
        // A newer release may have been here first: expand, deploy, contract.
        let migrator = Migrator { ignore_missing: true, ..Migrator::with_migrations(alike.to_vec()) };
        migrator.run(&mut *conn).await?;
    }
    Ok(mend_indexes(conn).await?)
}

/// Waits until no other process of this release migrates.
///
/// By asking again and again: a statement that waits inside Postgres is one that a concurrent build of an index waits for,
/// so that each would wait for the other.
async fn take_turn(conn: &mut PgConnection) -> sqlx::Result<()> {
    let try_lock = async |conn: &mut PgConnection| {
        let is_locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "is_locked!""#, MIGRATION_LOCK);
        is_locked.fetch_one(conn).await
    };
    while !try_lock(conn).await? {
        sleep(TURN_PAUSE).await;
    }
    Ok(())
}

/// Rebuilds the indexes that a concurrent build left invalid: it failed, or its process was killed. The migration that made
/// such a build passes over it when it is run again, because the index is there by name.
async fn mend_indexes(conn: &mut PgConnection) -> sqlx::Result<()> {
    execute(conn, "SET lock_timeout = 0").await?;
    let broken = sqlx::query!(
        r#"
            SELECT format('%I.%I', n.nspname, c.relname) AS "name!", c.relname ~ '_cc(new|old)[0-9]*$' AS "is_left_over!"
            FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname = ANY (current_schemas(false))
        "#,
    );
    for index in broken.fetch_all(&mut *conn).await? {
        // Names cannot be bound; Postgres has quoted this one. What a rebuild leaves behind when it fails in its turn has a
        // name of its own.
        let statement = if index.is_left_over {
            format!("DROP INDEX CONCURRENTLY IF EXISTS {}", index.name)
        } else {
            tracing::warn!(index = index.name, "rebuilding an index whose build was cut off");
            format!("REINDEX INDEX CONCURRENTLY {}", index.name)
        };
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *conn).await?;
    }
    Ok(())
}

async fn execute(conn: &mut PgConnection, statement: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(statement).execute(conn).await.map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestDb, seed};

    async fn is_valid(pool: &PgPool, index: &str) -> Option<bool> {
        let query = sqlx::query_scalar!("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", index);
        query.fetch_optional(&mut *pool.acquire().await.unwrap()).await.unwrap()
    }

    async fn run(pool: &PgPool, statement: &'static str) -> sqlx::Result<()> {
        execute(&mut pool.acquire().await.unwrap(), statement).await
    }

    #[tokio::test]
    async fn an_index_whose_build_was_cut_off_is_rebuilt() {
        let db = TestDb::create().await;
        let pool = db.pool();
        for handle in ["alice.test", "bob.test"] {
            seed::account(&pool, handle).await;
        }
        // Both have the same value, so this fails half way.
        run(&pool, "CREATE UNIQUE INDEX CONCURRENTLY cut_off_idx ON account ((did IS NULL))").await.unwrap_err();
        assert_eq!(is_valid(&pool, "cut_off_idx").await, Some(false));
        seed::delete_account(&pool, &seed::did_of("bob.test")).await;
        migrate(&pool).await.unwrap();
        assert_eq!(is_valid(&pool, "cut_off_idx").await, Some(true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn processes_that_migrate_at_once_build_an_index_once() {
        let db = TestDb::create().await;
        let pool = db.pool();
        run(&pool, "DELETE FROM _sqlx_migrations WHERE version = 20261121001101").await.unwrap();
        run(&pool, "DROP INDEX refresh_token_expires_at_idx").await.unwrap();
        let pools = [db.other_pool(), db.other_pool(), db.other_pool()];
        let [one, two, three] = &pools;
        let (one, two, three) = tokio::join!(migrate(one), migrate(two), migrate(three));
        for outcome in [one, two, three] {
            outcome.unwrap();
        }
        assert_eq!(is_valid(&pool, "refresh_token_expires_at_idx").await, Some(true));
        check_schema(&pool).await.unwrap();
    }
}
