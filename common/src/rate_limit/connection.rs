//! The connection to Redis: one, which all requests share and are pipelined on.
//!
//! It does not mend itself, as the client library's connection managers do: a request would then wait for that. Who
//! finds it broken throws it away, and `shared` opens another one beside the requests.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisError,
};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use super::script::ChargeScript;
use super::window::{Charge, Limit, Outcome, Subject};
use crate::config::{RedisConfig, RedisNode};

/// How long a connection may take to open, besides the time for a first question.
const OPEN_LIMIT: Duration = Duration::from_secs(2);
/// Requests that are handed to the connection but not yet sent.
const QUEUE: usize = 1024;
/// What a cluster may answer to one request before it is given up: that the slot moved, and is being moved again.
const CLUSTER_RETRIES: u32 = 2;

/// Asks whether all is well, by counting what nobody looks at.
const PROBE: Limit = Limit { name: "probe", points: u32::MAX, window: Duration::from_secs(1) };

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// What the client library or the server says.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// It says nothing.
    #[error("no answer in time")]
    Silent,
}

/// An open connection.
pub(super) struct Connection {
    to: To,
    script: ChargeScript,
    /// How long a request waits for an answer.
    patience: Duration,
}

#[derive(Clone)]
enum To {
    Server(MultiplexedConnection),
    Cluster(Box<ClusterConnection>),
}

impl Connection {
    /// Opens a connection, and finds out whether it can be counted there: a replica, for one, does not take writes.
    pub(super) async fn open(config: &RedisConfig) -> Result<Self, ConnectionError> {
        let opening = async {
            let (to, script) = (To::open(config).await?, ChargeScript::new());
            let connection = Self { to, script, patience: config.timeout };
            connection.charge_patiently(&[Charge::new(&PROBE, &Subject::name("replica"), 1)]).await?;
            Ok(connection)
        };
        timeout(OPEN_LIMIT + config.timeout, opening).await.unwrap_or(Err(ConnectionError::Silent))
    }

    /// Charges a request in one round trip.
    pub(super) async fn charge(&self, charges: &[Charge]) -> Result<Outcome, ConnectionError> {
        let answer = timeout(self.patience, self.charge_patiently(charges)).await;
        answer.map_or(Err(ConnectionError::Silent), |answer| Ok(answer?))
    }

    async fn charge_patiently(&self, charges: &[Charge]) -> Result<Outcome, RedisError> {
        match self.to.clone() {
            To::Server(mut server) => self.script.run(&mut server, charges).await,
            To::Cluster(mut cluster) => self.script.run(&mut *cluster, charges).await,
        }
    }
}

impl To {
    async fn open(config: &RedisConfig) -> Result<Self, RedisError> {
        let mut nodes = config.nodes.iter().map(|node| address(config, node)).collect::<Result<Vec<_>, _>>()?;
        if config.cluster {
            let builder = ClusterClient::builder(nodes).retries(CLUSTER_RETRIES).connection_timeout(OPEN_LIMIT);
            let cluster = builder.response_timeout(config.timeout).build()?.get_async_connection().await?;
            return Ok(Self::Cluster(Box::new(cluster)));
        }
        // Settings without a node are refused when they are read.
        let client = Client::open(nodes.swap_remove(0))?;
        // Requests have time limits of their own, and those that are given up do not harm the others.
        let settings = AsyncConnectionConfig::new().set_connection_timeout(Some(OPEN_LIMIT)).set_response_timeout(None);
        let settings = settings.set_pipeline_buffer_size(QUEUE);
        Ok(Self::Server(client.get_multiplexed_async_connection_with_config(&settings).await?))
    }
}

fn address(config: &RedisConfig, node: &RedisNode) -> Result<ConnectionInfo, RedisError> {
    let RedisNode { host, port } = node.clone();
    let address = if config.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut settings = RedisConnectionInfo::default().set_db(config.database.into());
    if let Some(username) = &config.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &config.password {
        settings = settings.set_password(password.expose_secret());
    }
    // Questions are small, and none may wait for another one to fill a packet.
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(address.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp))
}
