//! Postgres: the connection pool, the schema and its version, and how protocol types become columns.
//!
//! Owns no table. Every other module brings its SQL in its own `store.rs`.

mod column;
mod id;
mod lookup;
mod outage;
mod pool;
mod schema;
mod wakeups;

use std::str::FromStr;
use std::time::Duration;

pub use column::{CidColumn, TextColumn};
pub use id::AccountId;
pub(crate) use lookup::{Lookup, Lookups, in_place};
pub use outage::{is_lock_timeout, is_outage, is_overload};
pub use pool::{PgPool, PoolConnection};
#[cfg(feature = "testing")]
pub(crate) use schema::migrations;
pub use schema::{SchemaError, check_schema, migrate};
use secrecy::{ExposeSecret, SecretString};
pub use sqlx::Error;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
pub use wakeups::Wakeups;

/// How to reach Postgres, and how much of it to use.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// `postgres://user:password@host/database?…`, with the options libpq knows (`sslmode`, `sslrootcert`, …).
    pub url: SecretString,
    /// Connections at most.
    pub max_connections: u32,
    /// How long a request waits for a free connection before it fails.
    pub acquire_timeout: Duration,
}

/// Statements stay prepared per connection; more than the number of statements in the code, so that none is ever evicted.
const STATEMENT_CACHE: usize = 512;

/// What every session asks of the server: no statement outlives its caller's patience, a connection whose client died is
/// noticed within a minute, and a transaction that stalls lets go of its locks.
///
/// And no statement is planned twice. All of ours look rows up by keys, for which one plan fits all values; left alone,
/// Postgres plans those on partitioned tables at each call, which costs more than running them. The plan is one that stays
/// good: made while a table is small, it must neither read all of it nor sort what an index has in order when it has
/// grown.
const SESSION_OPTIONS: [(&str, &str); 11] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_sort", "off"),
    ("jit", "off"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// Opens a pool. Connects lazily: a database that is down at start is reported by the first use, and tried again.
///
/// # Errors
/// Only for a URL that cannot be parsed.
pub fn connect(settings: &PoolSettings, application: &str) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(settings.url.expose_secret())?
        .application_name(application)
        .statement_cache_capacity(STATEMENT_CACHE)
        .options(SESSION_OPTIONS);
    Ok(PgPool::new(options, settings.max_connections, settings.acquire_timeout))
}

/// A connection that works. Idle ones may have died unnoticed, all of them if Postgres failed over: whoever saw one fail
/// should ask for this one.
///
/// # Errors
/// If Postgres cannot be reached.
pub async fn acquire_live(pool: &PgPool) -> Result<PoolConnection, sqlx::Error> {
    for _ in 0..pool.max_connections() {
        let mut conn = pool.acquire().await?;
        if let Ok(Ok(())) = timeout(pool::SIGN_OF_LIFE, conn.ping()).await {
            return Ok(conn);
        }
        conn.close_on_drop();
    }
    pool.acquire().await
}

/// A connection of its own, whose statements may take `limit` each, waiting for locks included; close it after use. For
/// the rare statement that is long by nature.
///
/// # Errors
/// If Postgres cannot be reached.
pub async fn connect_patient(pool: &PgPool, limit: Duration) -> Result<PgConnection, sqlx::Error> {
    let options = pool.connect_options().clone();
    let limit = format!("{}ms", limit.as_millis());
    PgConnection::connect_with(&options.options([("statement_timeout", &limit), ("lock_timeout", &limit)])).await
}

/// True if Postgres answers.
pub async fn is_reachable(pool: &PgPool) -> bool {
    match pool.acquire().await {
        Ok(mut conn) => sqlx::query_scalar!("SELECT 1").fetch_one(&mut *conn).await.is_ok(),
        Err(_) => false,
    }
}

/// True if `error` is a broken unique constraint or index of this name.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::constraint) == Some(constraint)
}
