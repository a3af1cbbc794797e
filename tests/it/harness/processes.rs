//! Replicas of the api as processes of their own, which can be killed.

use std::path::{Path, PathBuf};

use anyhow::Result;
use common::config::Config;
use common::testing::{FakePlc, FakeS3};
use tests::stack::{Programs, Server, Settings, free_ports};

use crate::harness::client::Client;

/// Where the replicas of one service are, and what they are told; which of them run is the test's affair.
#[derive(Debug)]
pub(crate) struct Processes {
    programs: Programs,
    settings: Settings,
    ports: Vec<u16>,
    folder: PathBuf,
}

impl Processes {
    /// Prepares replicas on the database at `database`, with their logs and blobs in `folder`.
    ///
    /// # Errors
    /// The programs were not built.
    pub(crate) fn new(count: u16, database: String, plc: &FakePlc, folder: &Path) -> Result<Self> {
        let ports = free_ports(count)?;
        let own = [
            ("PDS_DATABASE_URL", database),
            ("PDS_DID_PLC_URL", plc.url().to_string()),
            ("PDS_DEV_MODE", "true".to_owned()),
            ("PDS_PORT", ports[0].to_string()),
            ("PDS_BLOBSTORE_DISK_LOCATION", folder.join("blobs").to_string_lossy().into_owned()),
        ];
        let fixed = Config::TEST_VARIABLES.map(|(name, value)| (name, value.to_owned()));
        let settings = fixed.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Self { programs: Programs::built()?, settings, ports, folder: folder.to_owned() })
    }

    /// Tells replicas that start from now on something more.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// Lets replicas that start from now on keep their blobs in this store.
    pub(crate) fn keep_blobs_in(&mut self, s3: &FakeS3) {
        self.set("PDS_BLOBSTORE_DISK_LOCATION", "");
        for (name, value) in s3.variables() {
            self.set(name, value);
        }
    }

    /// Brings the schema of the replicas' database up to date.
    ///
    /// # Errors
    /// What the program says.
    pub(crate) async fn migrate(&self) -> Result<()> {
        self.programs.migrate(&self.settings["PDS_DATABASE_URL"]).await
    }

    /// Starts a replica and waits until it answers.
    ///
    /// # Errors
    /// It ends before.
    pub(crate) async fn start(&self, index: usize) -> Result<Server> {
        let (name, port) = (format!("api-{index}"), self.ports[index]);
        let mut settings = self.settings.clone();
        settings.insert("PDS_LISTEN_PORT".to_owned(), port.to_string());
        self.programs.start_api(&name, port, &settings, &self.folder.join(format!("{name}.log"))).await
    }

    /// As [`Processes::start`], for a replica that can write no file of more bytes, as on a disk that is full.
    ///
    /// # Errors
    /// It ends before.
    pub(crate) async fn start_cramped(&self, index: usize, bytes: usize) -> Result<Server> {
        let (name, port) = (format!("api-{index}"), self.ports[index]);
        let mut settings = self.settings.clone();
        settings.insert("PDS_LISTEN_PORT".to_owned(), port.to_string());
        self.programs.start_cramped_api(bytes, port, &settings, &self.folder.join(format!("{name}.log"))).await
    }

    /// Where a replica is, or will be.
    pub(crate) fn origin(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[index])
    }

    /// A client of a replica.
    pub(crate) fn client(&self, index: usize) -> Client {
        Client::new(self.origin(index))
    }
}
