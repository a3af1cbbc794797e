//! The yardstick: the reference server, one process with its database in files, installed from npm by `tests/reference/setup.sh`.
//!
//! It has the settings it has by default, but no limits of rate and no invite codes, as Rookery has in its stack (see
//! `tests/reference/server.js`); both write their logs to a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tests::stack::{Launch, PlcDirectory, Server, free_ports};

use crate::connection::{Call, Connection};
use crate::origin::Origin;
use crate::processes::Processes;

/// Time to end.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A running reference server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Reference {
    server: Server,
    origin: Arc<Origin>,
    _plc: PlcDirectory,
    _data: TempDir,
}

impl Reference {
    /// Starts the server that is installed in `installed`, with a PLC directory of its own.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub(crate) async fn start(installed: &Path) -> Result<Self> {
        let node = node(installed)?;
        let data = tempfile::Builder::new().prefix("rookery-reference-").tempdir()?;
        let plc = PlcDirectory::start(data.path()).await?;
        let port = free_ports(1)?[0];
        let origin: Arc<Origin> = Arc::new(format!("http://localhost:{port}").parse()?);
        let launch = Launch::new("the reference server", node).args(["server.js"]);
        let launch = launch.current_dir(installed).envs(settings(data.path(), port, &plc.url()));
        let mut server = launch.spawn(&data.path().join("server.log"))?;
        let health = Call::query("_health")?;
        server
            .until_ready(async || match Connection::new(&origin) {
                Ok(mut connection) => connection.send(&health).await.is_ok(),
                Err(_) => false,
            })
            .await?;
        Ok(Self { server, origin, _plc: plc, _data: data })
    }

    /// Where it is.
    pub(crate) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Stops it.
    ///
    /// # Errors
    /// It can be neither stopped nor killed.
    pub(crate) async fn stop(self) -> Result<()> {
        self.server.stop(STOP_GRACE).await
    }

    /// Its process.
    pub(crate) fn processes(&self) -> Processes {
        Processes::new(self.server.pid().map(|pid| ("node".to_owned(), pid)).into_iter().collect())
    }
}

/// The Node that was installed with the server.
fn node(installed: &Path) -> Result<PathBuf> {
    let cpu = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let node = installed.join(format!("node_modules/node-linux-{cpu}/bin/node"));
    if !node.exists() {
        bail!("the reference server is not installed: run {}", installed.join("setup.sh").display());
    }
    node.canonicalize().context("no path of Node")
}

/// What `server.js` must be told.
fn settings(data: &Path, port: u16, plc: &str) -> [(&'static str, String); 3] {
    [
        ("PDS_DATA_DIRECTORY", data.to_string_lossy().into_owned()),
        ("PDS_DID_PLC_URL", plc.to_owned()),
        ("PDS_PORT", port.to_string()),
    ]
}
