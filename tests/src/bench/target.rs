//! The servers that can be measured.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use tests::stack::{DataFolder, Durability, Options, Settings, Stack};

use crate::origin::Origin;
use crate::processes::Processes;
use crate::reference::Reference;

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
    Reference(Box<Reference>),
}

/// What the archives of the import scenario and the largest blobs may have, which is more than a server takes by default.
const SIZES: [(&str, &str); 2] = [("PDS_MAX_REPO_IMPORT_SIZE", "100000000"), ("PDS_BLOB_UPLOAD_LIMIT", "100000000")];

/// The limits that the scenarios come under.
const LIMITS: [&str; 13] = [
    "global",
    "get-repo-5min",
    "repo-write-hour",
    "repo-write-day",
    "upload-blob-day",
    "create-account-5min",
    "create-session-5min",
    "create-session-day",
    "login-name-5min",
    "login-name-day",
    "login-address-5min",
    "login-address-day",
    "update-handle-5min",
];

impl Target {
    /// Starts one replica of Rookery on a Postgres and Redis of its own, with the settings of `make run`: every commit
    /// is flushed to the disk. `rate_limits` says whether it counts limits.
    ///
    /// # Errors
    /// Something does not start.
    pub(crate) async fn own(rate_limits: bool) -> Result<Self> {
        let mut settings: Settings =
            SIZES.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if rate_limits {
            let points = LIMITS.map(|limit| format!("{limit}={}", u32::MAX)).join(",");
            settings.insert("PDS_RATE_LIMIT_POINTS".to_owned(), points);
            settings.insert("PDS_RATE_LIMITS_ENABLED".to_owned(), "true".to_owned());
        }
        let options = Options {
            data: DataFolder::temporary()?,
            replicas: 1,
            port: None,
            bind: "127.0.0.1".to_owned(),
            durability: Durability::Full,
            plc_url: None,
            settings,
        };
        let stack = Stack::start(options).await?;
        let origin = Arc::new(stack.endpoints().pds[0].parse()?);
        let processes = Processes::new(stack.processes());
        Ok(Self { name: "rookery".to_owned(), origin, processes, kept: Kept::Stack(Box::new(stack)) })
    }

    /// Starts the reference server that is installed in this folder.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub(crate) async fn reference(installed: &Path) -> Result<Self> {
        let reference = Reference::start(installed).await?;
        let (origin, processes) = (Arc::clone(reference.origin()), reference.processes());
        Ok(Self { name: "reference".to_owned(), origin, processes, kept: Kept::Reference(Box::new(reference)) })
    }

    /// A server that runs already; `pids` are its processes, if they are on this machine.
    ///
    /// # Errors
    /// The URL is none.
    pub(crate) fn elsewhere(url: &str, pids: &[u32]) -> Result<Self> {
        let processes = Processes::new(pids.iter().map(|pid| ("server".to_owned(), *pid)).collect());
        Ok(Self { name: url.to_owned(), origin: Arc::new(url.parse()?), processes, kept: Kept::Elsewhere })
    }

    /// Whether [`Target::run_sql`] can work.
    pub(crate) fn has_database(&self) -> bool {
        matches!(self.kept, Kept::Stack(_))
    }

    /// Runs SQL in the server's database, as one transaction.
    ///
    /// # Errors
    /// We did not start the database, or it refuses.
    pub(crate) async fn run_sql(&self, sql: &str) -> Result<()> {
        match &self.kept {
            Kept::Stack(stack) => stack.run_sql(sql).await,
            _ => bail!("{} has no database of ours", self.name),
        }
    }

    /// Stops it, if we started it.
    ///
    /// # Errors
    /// A process can be neither stopped nor killed.
    pub(crate) async fn stop(self) -> Result<()> {
        match self.kept {
            Kept::Elsewhere => Ok(()),
            Kept::Reference(reference) => reference.stop().await,
            Kept::Stack(stack) => stack.stop().await,
        }
    }
}
