//! A private Redis server, without persistence: what Rookery keeps there may be lost at any time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::process::{Launch, Server};
use super::{port, secret};

/// Time to end; nothing is saved.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A Redis server of our own; it stops when this is dropped.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    settings: PathBuf,
    port: u16,
    password: String,
}

impl Redis {
    /// Starts a server with its files in `dir`, and its log in `log`.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub async fn start(dir: &Path, log: &Path) -> Result<Self> {
        Self::start_with(dir, log, Manner::Plain).await
    }

    /// Starts a server that takes only encrypted connections. Its certificate, for `localhost`, is in the file
    /// `certificate.pem` of `dir`, for `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_encrypted(dir: &Path, log: &Path) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        fs::write(dir.join("certificate.pem"), cert.pem())?;
        secret::write_private(&dir.join("key.pem"), &signing_key.serialize_pem())?;
        Self::start_with(dir, log, Manner::Encrypted).await
    }

    /// Starts a cluster of a single node, which has all slots.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_cluster(dir: &Path, log: &Path) -> Result<Self> {
        let redis = Self::start_with(dir, log, Manner::Cluster).await?;
        redis.command("CLUSTER ADDSLOTSRANGE 0 16383", "+OK").await?;
        while redis.command("CLUSTER INFO", "cluster_state:ok").await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(redis)
    }

    async fn start_with(dir: &Path, log: &Path, manner: Manner) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let password = secret::kept_in(&dir.join("password"))?;
        port::with_free(async |port| {
            // The password goes in by a file: arguments are visible to every user of the machine.
            let settings = dir.join("redis.conf");
            secret::write_private(&settings, &configuration(port, &password, manner))?;
            let server = launch(&settings, port, log).await?;
            Ok(Self { server, settings, port, password: password.clone() })
        })
        .await
    }

    /// Kills the server and starts another one in its place, which knows nothing of what the first one kept.
    ///
    /// # Errors
    /// The new one does not start.
    pub async fn replace(&mut self) -> Result<()> {
        self.server.signal(Signal::SIGKILL);
        self.server.ended().await?;
        self.server = launch(&self.settings, self.port, self.server.log()).await?;
        Ok(())
    }

    /// Sends a command, and looks for a text in what it says.
    async fn command(&self, command: &str, expected: &str) -> Result<()> {
        let mut stream = TcpStream::connect(self.address()).await?;
        let commands = format!("AUTH {}\r\n{command}\r\nQUIT\r\n", self.password);
        stream.write_all(commands.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        // The answer to AUTH comes first.
        let answer = answer.split_once("\r\n").map_or("", |(_, answer)| answer);
        ensure!(answer.contains(expected), "Redis answers {command} with {answer}");
        Ok(())
    }

    /// Host and port, as `PDS_REDIS_SCRATCH_ADDRESS` wants them.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The password, for `PDS_REDIS_SCRATCH_PASSWORD`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Address and password as one URL.
    pub fn url(&self) -> String {
        format!("redis://default:{}@{}", self.password, self.address())
    }

    /// The process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The process, to wait for its end.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Stops the server.
    ///
    /// # Errors
    /// The process can be neither stopped nor killed.
    pub async fn stop(self) -> Result<()> {
        self.server.stop(STOP_GRACE).await
    }
}

/// Runs the server with the settings in a file, and waits until it takes connections.
async fn launch(settings: &Path, port: u16, log: &Path) -> Result<Server> {
    let dir = settings.parent().context("settings are in a folder")?;
    let launch = Launch::new("Redis", "redis-server").args([settings]).current_dir(dir);
    let mut server = launch.spawn(log).context("is the package redis-server installed?")?;
    server.until_ready(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await?;
    Ok(server)
}

/// How a server takes connections and keeps keys.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Plain,
    Encrypted,
    Cluster,
}

fn configuration(port: u16, password: &str, manner: Manner) -> String {
    let manner = match manner {
        Manner::Plain => format!("port {port}\n"),
        Manner::Cluster => format!("port {port}\ncluster-enabled yes\n"),
        // A certificate that signed itself is its own signer.
        Manner::Encrypted => format!(
            "port 0\ntls-port {port}\ntls-cert-file certificate.pem\ntls-key-file key.pem\n\
             tls-ca-cert-file certificate.pem\ntls-auth-clients no\n"
        ),
    };
    format!("bind 127.0.0.1\nrequirepass {password}\nsave \"\"\nappendonly no\ndaemonize no\n{manner}")
}
