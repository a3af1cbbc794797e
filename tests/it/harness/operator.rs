//! An operator at a terminal of no use: commands run to their end, nobody answers questions.

use std::path::Path;

use anyhow::{Context as _, Result};
use common::config::Config;
use serde_json::Value;
use tests::stack::{Programs, Server, Settings, free_ports};

use crate::harness::cluster::Cluster;

/// Runs commands with the settings of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    programs: Programs,
    settings: Settings,
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// What it found.
    pub(crate) out: String,
    /// Progress, and why it failed.
    pub(crate) err: String,
}

impl Ended {
    /// The lines of JSON.
    ///
    /// # Panics
    /// If a line is none.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Operator {
    /// An operator of this cluster.
    ///
    /// # Errors
    /// The programs were not built.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let variables = Config::TEST_VARIABLES.into_iter().map(|(name, value)| (name, value.to_owned()));
        let own = [
            ("PDS_DATABASE_URL", cluster.db().url()),
            ("PDS_DID_PLC_URL", cluster.plc().url().to_string()),
            ("PDS_DEV_MODE", "true".to_owned()),
            ("PDS_BLOBSTORE_DISK_LOCATION", cluster.blobs().to_string_lossy().into_owned()),
            ("PDS_PORT", cluster.replica(0).local_addr().port().to_string()),
        ];
        let settings = variables.chain(own).map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Self { programs: Programs::built()?, settings })
    }

    /// The same operator with another value of one setting.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut settings = self.settings.clone();
        settings.insert(name.to_owned(), value.to_owned());
        Self { programs: self.programs.clone(), settings }
    }

    /// Runs a command.
    ///
    /// # Errors
    /// It cannot be started, or was killed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let output = self.programs.worker(arguments).envs(&self.settings).output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("the output is no text");
        let code = output.status.code().context("killed")?;
        Ok(Ended { code, out: text(output.stdout)?, err: text(output.stderr)? })
    }

    /// Starts a worker and waits until it works. Its log is in `folder`.
    ///
    /// # Errors
    /// It ends before.
    pub(crate) async fn start_worker(&self, name: &str, folder: &Path) -> Result<Server> {
        self.start_worker_on(free_ports(1)?[0], name, folder).await
    }

    /// As [`Operator::start_worker`], with a metrics port of one's choice.
    ///
    /// # Errors
    /// It ends before.
    pub(crate) async fn start_worker_on(&self, port: u16, name: &str, folder: &Path) -> Result<Server> {
        let log = folder.join(format!("{name}.log"));
        self.programs.start_worker(name, port, &self.settings, &log).await
    }
}
