//! A database per test, copied from a template that holds the current schema.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::Ipv4Addr;
use std::str::FromStr as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::Tap;
use crate::db::{self, PgPool, PoolSettings};

/// Connections of one test; many tests share the server.
const CONNECTIONS: u32 = 8;

/// How long a test that ended waits for its database to be gone.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(1);

/// A database of its own for one test, with the schema and no data. Dropping it removes the database.
///
/// The server is named by `TEST_DATABASE_URL`, whose role must be allowed to create databases; the database in that URL is
/// only used to connect. Every method here panics when the server refuses, as fits a test.
#[derive(Debug)]
pub struct TestDb {
    server: PgConnectOptions,
    name: String,
    pool: PgPool,
}

impl TestDb {
    /// Makes the database. The first caller on a server, or after a change of the schema, makes the template as well.
    ///
    /// # Panics
    /// If `TEST_DATABASE_URL` is unset or its server refuses.
    pub async fn create() -> Self {
        let server = PgConnectOptions::from_str(&server_url()).expect("TEST_DATABASE_URL is a Postgres URL");
        let mut admin = server.connect().await.expect("the server of TEST_DATABASE_URL answers");
        let template = ensure_template(&mut admin, &server).await;
        let name = format!("rookery_test_{:016x}", rand::random::<u64>());
        execute(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        let pool = connect(&server, &name);
        Self { server, name, pool }
    }

    /// A pool of connections to it; each call gives the same pool.
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// A second, independent pool: what another replica would have.
    ///
    /// # Panics
    /// Never in practice: the URL was parsed before.
    pub fn other_pool(&self) -> PgPool {
        connect(&self.server, &self.name)
    }

    /// Breaks every connection to it, as a failover does. Connections made afterwards work.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn break_connections(&self) {
        let mut admin = self.server.connect().await.expect("the server of TEST_DATABASE_URL answers");
        let query =
            sqlx::query!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", self.name);
        query.fetch_all(&mut admin).await.expect("the test server obeys");
    }

    /// Waits until no session is in a statement or a transaction.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn until_idle(&self) {
        let is_idle = async || {
            let query = sqlx::query_scalar!(
                r#"
                    SELECT NOT EXISTS (
                        SELECT FROM pg_stat_activity WHERE datname = $1 AND state <> 'idle' AND pid <> pg_backend_pid()
                    ) AS "is_idle!"
                "#,
                self.name,
            );
            query.fetch_one(&self.pool).await.expect("the list of sessions")
        };
        while !is_idle().await {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a session waits for a lock that another one holds.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn until_blocked(&self) {
        let is_blocked = async || {
            let query = sqlx::query_scalar!(
                r#"
                    SELECT EXISTS (
                        SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'
                    ) AS "is_blocked!"
                "#,
                self.name,
            );
            query.fetch_one(&self.pool).await.expect("the list of sessions")
        };
        while !is_blocked().await {
            tokio::task::yield_now().await;
        }
    }

    /// Lets nobody write into a table until what it gives is let go. Rows may be read and locked.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn hold_table(&self, table: &str) -> HeldTable {
        let options = self.server.clone().database(&self.name);
        let mut conn = options.connect().await.expect("the server of TEST_DATABASE_URL answers");
        execute(&mut conn, format!("BEGIN; LOCK TABLE {table} IN SHARE MODE")).await;
        HeldTable(conn)
    }

    /// A pool whose statements are counted and whose connections break on demand.
    ///
    /// # Panics
    /// If no port of the loopback interface is free.
    pub async fn tap(&self) -> Tap {
        let (server, name) = (self.server.clone(), self.name.clone());
        let (host, port) = (server.get_host().to_owned(), server.get_port());
        Tap::start(host, port, |tapped| {
            let host = Ipv4Addr::LOCALHOST.to_string();
            connect(&server.ssl_mode(PgSslMode::Disable).host(&host).port(tapped), &name)
        })
        .await
    }

    /// Its URL, for a program started by the test.
    pub fn url(&self) -> String {
        url(&self.server, &self.name)
    }
}

/// A table that nobody can write into: see [`TestDb::hold_table`].
#[derive(Debug)]
pub struct HeldTable(PgConnection);

impl HeldTable {
    /// Lets those go on who wait for it.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn release(mut self) {
        execute(&mut self.0, "COMMIT".to_owned()).await;
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        let (ended, removal) = mpsc::channel::<()>();
        // A runtime of its own: the test's may be single-threaded, and is blocked in this very function.
        thread::spawn(move || {
            let _ended = ended;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(remove_database(&server, &name)).map_err(std::io::Error::other)
        });
        // Not for long: Postgres drops nothing while a connection is in the middle of its login, and one that is being
        // opened on the blocked runtime gets no further before this returns. The server then finishes without us. A
        // database left behind harms nothing, and the test may be failing already.
        let _ = removal.recv_timeout(REMOVAL_PATIENCE);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads where tests find Postgres")]
fn server_url() -> String {
    std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL names a Postgres server for tests")
}

fn url(server: &PgConnectOptions, database: &str) -> String {
    server.clone().database(database).to_url_lossy().to_string()
}

fn connect(server: &PgConnectOptions, database: &str) -> PgPool {
    let settings = PoolSettings {
        url: SecretString::from(url(server, database)),
        max_connections: CONNECTIONS,
        acquire_timeout: Duration::from_secs(30),
    };
    db::connect(&settings, "test").expect("the URL was parsed before")
}

/// The template's name, made first if need be. Test processes start together: an advisory lock lets one make it.
async fn ensure_template(admin: &mut PgConnection, server: &PgConnectOptions) -> String {
    let fingerprint = schema_fingerprint();
    let name = format!("rookery_template_{fingerprint:016x}");
    let lock = fingerprint.cast_signed();
    execute(admin, format!("SELECT pg_advisory_lock({lock})")).await;
    if !is_template(admin, &name).await {
        execute(admin, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        execute(admin, format!("CREATE DATABASE {name}")).await;
        let pool = connect(server, &name);
        db::migrate(&pool).await.expect("the migrations run");
        pool.close().await;
        // Last, so that a template half made by a process that died is made again.
        execute(admin, format!("ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")).await;
    }
    execute(admin, format!("SELECT pg_advisory_unlock({lock})")).await;
    name
}

/// Changes whenever a migration does.
fn schema_fingerprint() -> u64 {
    let mut hasher = DefaultHasher::new();
    for migration in db::migrations() {
        (migration.version, &migration.checksum).hash(&mut hasher);
    }
    hasher.finish()
}

async fn is_template(admin: &mut PgConnection, name: &str) -> bool {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate) AS "known!""#,
        name,
    );
    query.fetch_one(admin).await.expect("the list of databases")
}

async fn remove_database(server: &PgConnectOptions, name: &str) -> sqlx::Result<()> {
    let mut admin = server.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).execute(&mut admin).await?;
    admin.close().await
}

/// Runs a statement that takes no parameters: names of databases cannot be bound. All of them are made in this file.
async fn execute(admin: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(admin).await.expect("the test server obeys");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn databases_have_the_schema_and_are_apart() {
        let (one, other) = tokio::join!(TestDb::create(), TestDb::create());
        assert_ne!(one.url(), other.url());
        for db in [&one, &other] {
            db::check_schema(&db.pool()).await.unwrap();
            assert!(db::is_reachable(&db.other_pool()).await);
        }
    }

    #[tokio::test]
    async fn dropping_one_removes_it_even_while_it_is_in_use() {
        let db = TestDb::create().await;
        let (pool, url) = (db.pool(), db.url());
        let _held = pool.acquire().await.unwrap();
        drop(db);
        let error = PgConnection::connect(&url).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("3D000"), "no such database: {error}");
    }
}
