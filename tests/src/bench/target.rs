//! The servers that can be measured.

use std::sync::Arc;

use anyhow::Result;
use tests::stack::{DataFolder, Durability, Options, Stack};

use crate::origin::Origin;
use crate::processes::Processes;

/// A running server.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is called in the report.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) origin: Arc<Origin>,
    /// Its processes.
    pub(crate) processes: Processes,
    /// What stops it, if we started it.
    kept: Kept,
}

/// What keeps a server running.
#[derive(Debug)]
enum Kept {
    Elsewhere,
    Stack(Box<Stack>),
}

impl Target {
    /// Starts one replica of Rookery on a Postgres and Redis of its own, with the settings of `make run`: every commit
    /// is flushed to the disk.
    ///
    /// # Errors
    /// Something does not start.
    pub(crate) async fn own() -> Result<Self> {
        let options = Options {
            data: DataFolder::temporary()?,
            replicas: 1,
            port: None,
            bind: "127.0.0.1".to_owned(),
            durability: Durability::Full,
            plc_url: None,
        };
        let stack = Stack::start(options).await?;
        let origin = Arc::new(stack.endpoints().pds[0].parse()?);
        let processes = Processes::new(stack.processes());
        Ok(Self { name: "rookery".to_owned(), origin, processes, kept: Kept::Stack(Box::new(stack)) })
    }

    /// A server that runs already; `pids` are its processes, if they are on this machine.
    ///
    /// # Errors
    /// The URL is none.
    pub(crate) fn elsewhere(url: &str, pids: &[u32]) -> Result<Self> {
        let processes = Processes::new(pids.iter().map(|pid| ("server".to_owned(), *pid)).collect());
        Ok(Self { name: url.to_owned(), origin: Arc::new(url.parse()?), processes, kept: Kept::Elsewhere })
    }

    /// Stops it, if we started it.
    ///
    /// # Errors
    /// A process can be neither stopped nor killed.
    pub(crate) async fn stop(self) -> Result<()> {
        match self.kept {
            Kept::Elsewhere => Ok(()),
            Kept::Stack(stack) => stack.stop().await,
        }
    }
}
