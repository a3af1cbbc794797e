//! Our own programs, as child processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::process::{Launch, Server, answers_http};

/// Settings of a program, by the name of the variable.
pub type Settings = BTreeMap<String, String>;

/// The compiled programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs that were built together with the calling one.
    ///
    /// # Errors
    /// They were not built.
    pub fn built() -> Result<Self> {
        let caller = std::env::current_exe().context("no path of this program")?;
        // A test program is one folder further down, in `deps`.
        let folder = caller.ancestors().skip(1).take(2).find(|folder| folder.join("pds-api").exists());
        match folder {
            Some(folder) if folder.join("pds-worker").exists() => Ok(Self { folder: folder.to_owned() }),
            _ => bail!("pds-api and pds-worker are not built: run `cargo build --workspace`"),
        }
    }

    /// Brings the schema of a database up to date.
    ///
    /// # Errors
    /// What the program says.
    pub async fn migrate(&self, database_url: &str) -> Result<()> {
        self.worker(&["migrate"]).envs([("PDS_DATABASE_URL", database_url)]).finish().await
    }

    /// A command of the worker.
    pub fn worker(&self, arguments: &[&str]) -> Launch {
        let name = format!("pds-worker {}", arguments.first().unwrap_or(&""));
        Launch::new(name, self.folder.join("pds-worker")).args(arguments)
    }

    /// Starts a worker, and waits until it works.
    ///
    /// # Errors
    /// It ends before that; the message holds the end of its log.
    pub async fn start_worker(&self, name: &str, port: u16, settings: &Settings, log: &Path) -> Result<Server> {
        let metrics = [("PDS_METRICS_PORT", port.to_string())];
        let launch = Launch::new(name, self.folder.join("pds-worker")).args(["run"]).envs(settings).envs(metrics);
        let mut server = launch.spawn(log)?;
        server.until_ready(async || answers_http(port, "/readyz").await).await?;
        Ok(server)
    }

    /// Starts a server on `port`, and waits until it answers.
    ///
    /// # Errors
    /// It ends before it answers; the message holds the end of its log.
    pub async fn start_api(&self, name: &str, port: u16, settings: &Settings, log: &Path) -> Result<Server> {
        let launch = Launch::new(name, self.folder.join("pds-api")).envs(settings);
        let mut server = launch.spawn(log)?;
        server.until_ready(async || answers_http(port, "/xrpc/_health").await).await?;
        Ok(server)
    }

    /// As [`Programs::start_api`], for a server that can write no file of more bytes: what is more fails, as on a full disk.
    ///
    /// # Errors
    /// It ends before it answers; the message holds the end of its log.
    pub async fn start_cramped_api(&self, bytes: usize, port: u16, settings: &Settings, log: &Path) -> Result<Server> {
        // The limit is in blocks of 512 bytes. Without the trap the first such write ends the program.
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\"", bytes / 512);
        let launch = Launch::new("cramped api", "sh").args(["-c", &script]).args([self.folder.join("pds-api")]);
        let mut server = launch.envs(settings).spawn(log)?;
        server.until_ready(async || answers_http(port, "/xrpc/_health").await).await?;
        Ok(server)
    }
}
