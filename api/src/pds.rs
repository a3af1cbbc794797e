//! The server as a library: what the program starts, and what tests start.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use common::{
    blob::{CheckError, Objects},
    clock::Clock,
    config::{Config, DeploymentConfig},
    db::{self, PgPool, PoolSettings, SchemaError},
    lifecycle::PolicyError,
};
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinHandle},
    time::{sleep, timeout},
};

use crate::{
    http::{self, Shutdown},
    limit::UnknownLimits,
    state::{AppState, Services},
    xrpc::describe_chain,
};

/// How long connections to the database may take to close when the server stops.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long a request waits for a database connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// One server: a replica of `pds-api` within this process.
///
/// ```no_run
/// use api::{Overrides, Pds};
/// use common::config::Config;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut pds = Pds::create(Config::from_env()?, Overrides::default()).await?;
/// pds.start();
/// println!("listening on {}", pds.local_addr());
/// tokio::signal::ctrl_c().await?;
/// pds.destroy().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pds {
    context: AppState,
    local_addr: SocketAddr,
    listener: Option<TcpListener>,
    metrics_addr: Option<SocketAddr>,
    metrics_listener: Option<TcpListener>,
    server: Option<JoinHandle<()>>,
    metrics_server: Option<AbortOnDrop>,
}

/// A task that ends with its handle.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Parts to use instead of the ones that the configuration would make.
#[derive(Default, Debug)]
#[non_exhaustive]
pub struct Overrides {
    /// The time.
    pub clock: Option<Clock>,
    /// Postgres; closed by [`Pds::destroy`] like one of the server's own.
    pub database: Option<PgPool>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or may not be used.
    #[error("cannot listen on port {port}")]
    Bind {
        /// The configured port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The database URL cannot be used.
    #[error("cannot use the database")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database was made for an older release.
    #[error(transparent)]
    Schema(SchemaError),
    /// Blobs cannot be kept where the settings say.
    #[error(transparent)]
    Blobstore(CheckError),
    /// The settings ask for what this server cannot do.
    #[error(transparent)]
    Policy(PolicyError),
    /// The settings give points to limits that there are not.
    #[error(transparent)]
    Limits(UnknownLimits),
    /// Outgoing requests cannot be made.
    #[error("cannot set up TLS")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StartError {
    pub(crate) fn client(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Client(error.into())
    }
}

impl Pds {
    /// Makes the services and binds the port; answers nothing yet.
    ///
    /// With port 0 the system chooses one; it becomes the public port too if that is 0, so that the public URL is right.
    /// A database that does not answer is no error here: the server starts, and is not ready until it does. Nor is an
    /// object store that does not answer: all but blobs works without.
    ///
    /// # Errors
    /// If the port cannot be bound, the database's schema is too old, or the settings ask for what is not there.
    pub async fn create(mut config: Config, overrides: Overrides) -> Result<Self, StartError> {
        let database = match overrides.database {
            Some(database) => database,
            None => connect(&config)?,
        };
        check_schema(&database).await?;
        check_blobstore(&config).await?;
        let port = config.listen_port();
        let bind_error = |source| StartError::Bind { port, source };
        let listener = bind(&config.deployment, port).await.map_err(bind_error)?;
        let local_addr = listener.local_addr().map_err(bind_error)?;
        let metrics_listener = match config.deployment.metrics_port {
            Some(port) => {
                Some(bind(&config.deployment, port).await.map_err(|source| StartError::Bind { port, source })?)
            }
            None => None,
        };
        let metrics_addr = metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        if config.service.port == 0 {
            config.service.port = local_addr.port();
        }
        let context = AppState::new(config, overrides.clock.unwrap_or_default(), database)?;
        context.limits.settled().await;
        Ok(Self {
            context,
            local_addr,
            listener: Some(listener),
            metrics_addr,
            metrics_listener,
            server: None,
            metrics_server: None,
        })
    }

    /// Begins to answer requests. Does nothing the second time.
    pub fn start(&mut self) {
        if let Some(listener) = self.listener.take() {
            let router = http::router(&self.context);
            // Draining takes its part of it.
            let deployment = &self.context.config.deployment;
            let limits = http::Limits::with_grace(deployment.shutdown_grace.saturating_sub(deployment.drain_delay));
            self.server = Some(tokio::spawn(http::serve(listener, router, self.context.shutdown.clone(), limits)));
        }
        if let Some(listener) = self.metrics_listener.take() {
            let router = http::metrics_router(&self.context);
            // It answers until the end, so that operators can watch a stop; nobody waits for its requests.
            let serving = http::serve(listener, router, Shutdown::default(), http::Limits::with_grace(Duration::ZERO));
            self.metrics_server = Some(AbortOnDrop(tokio::spawn(serving)));
        }
    }

    /// The server's services.
    pub fn ctx(&self) -> &AppState {
        &self.context
    }

    /// The address the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address of the metrics port, if there is one.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// The origin to reach this server at on this machine, whatever its public name is.
    pub fn local_url(&self) -> String {
        let host = if self.local_addr.is_ipv4() { "127.0.0.1" } else { "[::1]" };
        format!("http://{host}:{}", self.local_addr.port())
    }

    /// Resolves, with what is wrong, when this server cannot do its work any more and only a new process can.
    ///
    /// A task that all requests rely on has panicked, which is a bug. It is not started again in this process: what else
    /// the panic left behind, nobody knows.
    pub async fn broken(&self) -> &'static str {
        self.context.repos.commits_ended().await;
        "the committer has ended"
    }

    /// Stops: not ready at once, but answering, until load balancers have noticed; then requests and sockets may finish
    /// within the rest of the grace.
    ///
    /// # Errors
    /// If the accept loop panicked.
    pub async fn destroy(mut self) -> Result<(), JoinError> {
        self.context.shutdown.drain();
        sleep(self.context.config.deployment.drain_delay).await;
        self.context.shutdown.request();
        let ended = match self.server.take() {
            Some(server) => server.await,
            None => Ok(()),
        };
        let Services { database, sequencer, .. } = &*self.context;
        let closing = async { tokio::join!(database.close(), sequencer.close()) };
        if timeout(CLOSE_LIMIT, closing).await.is_err() {
            tracing::warn!("stopped before every database connection was closed");
        }
        ended
    }
}

impl Drop for Pds {
    /// A server that is forgotten, as by a failing test, stops too.
    fn drop(&mut self) {
        self.context.shutdown.request();
    }
}

fn connect(config: &Config) -> Result<PgPool, StartError> {
    let settings = PoolSettings {
        url: config.database.url.clone(),
        max_connections: config.database.pool_size,
        acquire_timeout: ACQUIRE_TIMEOUT,
    };
    db::connect(&settings, "pds-api").map_err(|error| StartError::Database(error.into()))
}

async fn check_schema(database: &PgPool) -> Result<(), StartError> {
    match db::check_schema(database).await {
        Err(error @ SchemaError::TooOld { .. }) => Err(StartError::Schema(error)),
        Err(SchemaError::Storage(error)) => {
            tracing::warn!(%error, "the database does not answer; starting without, not ready until it does");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn check_blobstore(config: &Config) -> Result<(), StartError> {
    match Objects::from_config(&config.blobstore).check().await {
        Err(CheckError::Unknown(error)) => {
            tracing::warn!(error = describe_chain(&error), "the blob store cannot be looked at; starting all the same");
            Ok(())
        }
        Err(error) => Err(StartError::Blobstore(error)),
        Ok(()) => Ok(()),
    }
}

/// Every address of both families unless one is configured; version 4 only where the machine has no version 6.
async fn bind(deployment: &DeploymentConfig, port: u16) -> io::Result<TcpListener> {
    match deployment.bind {
        Some(ip) => TcpListener::bind((ip, port)).await,
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            bound => bound,
        },
    }
}

#[cfg(test)]
mod tests {
    use common::account::Accounts;
    use common::config::BlobstoreConfig;
    use common::lifecycle::NewAccount;
    use common::testing::{FakePlc, TestDb, log, seed};

    use super::*;

    async fn get(pds: &Pds, path: &str) -> (u16, serde_json::Value) {
        get_at(&pds.local_url(), path).await
    }

    async fn get_at(origin: &str, path: &str) -> (u16, serde_json::Value) {
        #[expect(clippy::disallowed_methods, reason = "a test calls its own server")]
        let response = reqwest::get(format!("{origin}{path}")).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    #[tokio::test]
    async fn a_server_starts_answers_and_stops() {
        let db = TestDb::create().await;
        let overrides = Overrides { database: Some(db.pool()), ..Overrides::default() };
        let mut pds = Pds::create(Config::for_tests(), overrides).await.unwrap();
        pds.start();
        let port = pds.local_addr().port();
        assert_eq!(pds.ctx().config.public_url(), format!("http://localhost:{port}"));
        while get(&pds, "/readyz").await.0 != 200 {}
        let version = serde_json::json!({"version": env!("CARGO_PKG_VERSION")});
        assert_eq!(get(&pds, "/xrpc/_health").await, (200, version));
        let (status, description) = get(&pds, "/xrpc/com.atproto.server.describeServer").await;
        assert_eq!((status, &description["did"]), (200, &"did:web:localhost".into()));
        pds.destroy().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_told_to_stop_is_not_ready_but_still_answers() {
        let db = TestDb::create().await;
        let mut config = Config::for_tests();
        config.deployment.drain_delay = Duration::from_mins(1);
        let overrides = Overrides { database: Some(db.pool()), ..Overrides::default() };
        let mut pds = Pds::create(config, overrides).await.unwrap();
        pds.start();
        let shutdown = pds.ctx().shutdown.clone();
        while get(&pds, "/readyz").await.0 != 200 {}
        let origin = pds.local_url();
        let stopping = tokio::spawn(pds.destroy());
        while !shutdown.is_draining() {
            tokio::task::yield_now().await;
        }
        assert_eq!(get_at(&origin, "/readyz").await.0, 503);
        assert_eq!(get_at(&origin, "/xrpc/com.atproto.server.describeServer").await.0, 200);
        stopping.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stop_waits_for_a_sign_up_whose_caller_has_left() {
        let (db, plc) = tokio::join!(TestDb::create(), FakePlc::start());
        let mut config = Config::for_tests();
        config.identity.plc_url = plc.url();
        let overrides = Overrides { database: Some(db.pool()), ..Overrides::default() };
        let mut pds = Pds::create(config, overrides).await.unwrap();
        pds.start();
        let (lifecycle, shutdown) = (pds.ctx().lifecycle.clone(), pds.ctx().shutdown.clone());
        let tasks = shutdown.tasks().len();

        // No other event gets a number before this one.
        let other_pool = db.other_pool();
        let bob = seed::repo(&other_pool, "bob.test").await;
        let mut conn = other_pool.acquire().await.unwrap();
        let mut holding = conn.begin().await.unwrap();
        log::append_uncommitted(&mut holding, bob.account).await;
        let (handle, email) = ("alice.test".to_owned(), Some("alice@mail.test".to_owned()));
        let request = NewAccount { handle, email, ..NewAccount::default() };
        let caller = tokio::spawn(async move { lifecycle.create_account(request).await });
        db.until_blocked().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(shutdown.tasks().len(), tasks + 1, "it goes on");

        let stopping = tokio::spawn(pds.destroy());
        shutdown.requested().await;
        holding.commit().await.unwrap();
        stopping.await.unwrap().unwrap();
        let alice = Accounts::new(other_pool).find_by_handle(&"alice.test".parse().unwrap()).await.unwrap();
        assert!(alice.is_some(), "it was finished first");
    }

    #[tokio::test]
    async fn the_metrics_port_answers_apart() {
        let db = TestDb::create().await;
        let mut config = Config::for_tests();
        config.deployment.metrics_port = Some(0);
        let overrides = Overrides { database: Some(db.pool()), ..Overrides::default() };
        let mut pds = Pds::create(config, overrides).await.unwrap();
        pds.start();
        assert_eq!(get(&pds, "/xrpc/com.atproto.server.describeServer").await.0, 200);
        assert_eq!(get(&pds, "/xrpc/com.atproto.server.getSession").await.0, 401);
        assert_eq!(get(&pds, "/metrics").await.0, 404, "not for everybody");
        let origin = format!("http://{}", pds.metrics_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "a test calls its own server")]
        let response = reqwest::get(format!("{origin}/metrics")).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = response.text().await.unwrap();
        for line in [
            "pds_xrpc_requests_total{method=\"com.atproto.server.describeServer\"} 1",
            "pds_xrpc_errors_total{method=\"com.atproto.server.getSession\",class=\"client\"} 1",
            "pds_xrpc_duration_seconds_count{method=\"com.atproto.server.getSession\"} 1",
            "pds_sequencer_last_seq 0",
            "pds_firehose_subscribers 0",
            "pds_plc_circuit_open 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert_eq!(get_at(&origin, "/subscribers").await, (200, serde_json::json!([])));
        pds.destroy().await.unwrap();
    }

    #[tokio::test]
    async fn a_place_for_blobs_that_is_none_is_named() {
        let (db, file) = (TestDb::create().await, tempfile::NamedTempFile::new().unwrap());
        let mut config = Config::for_tests();
        config.blobstore = BlobstoreConfig::on_disk(file.path().to_owned());
        let overrides = Overrides { database: Some(db.pool()), ..Overrides::default() };
        let error = Pds::create(config, overrides).await.unwrap_err().to_string();
        assert!(
            error.contains(file.path().to_str().unwrap()) && error.contains("PDS_BLOBSTORE_DISK_LOCATION"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let db = TestDb::create().await;
        let create = async |port| {
            let mut config = Config::for_tests();
            config.service.port = port;
            Pds::create(config, Overrides { database: Some(db.pool()), ..Overrides::default() }).await
        };
        let first = create(0).await.unwrap();
        let second = create(first.local_addr().port()).await.unwrap_err();
        assert_eq!(second.to_string(), format!("cannot listen on port {}", first.local_addr().port()));
    }
}
