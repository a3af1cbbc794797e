//! Replicas on one database, within the process of a test.

use std::path::Path;

use anyhow::Result;
use api::{Overrides, Pds};
use common::config::{BlobstoreConfig, Config};
use common::testing::{FakePlc, TestDb};
use tempfile::TempDir;

use crate::harness::account::Account;
use crate::harness::client::Client;

/// How many replicas to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas(pub usize);

/// Replicas within this process, each with connections of its own, on a database of their own.
#[derive(Debug)]
pub(crate) struct Cluster {
    replicas: Vec<Pds>,
    plc: FakePlc,
    db: TestDb,
    /// Bytes of blobs, unless a test has its own store. Goes with the cluster.
    blobs: TempDir,
}

impl Cluster {
    /// Starts the replicas.
    ///
    /// # Errors
    /// A replica does not start.
    pub(crate) async fn start(replicas: Replicas) -> Result<Self> {
        Self::start_with(replicas, |_| {}).await
    }

    /// Starts the replicas with other settings than [`Config::for_tests`].
    ///
    /// # Errors
    /// A replica does not start.
    pub(crate) async fn start_with(Replicas(count): Replicas, change: impl Fn(&mut Config)) -> Result<Self> {
        let (db, plc) = (TestDb::create().await, FakePlc::start().await);
        let blobs = TempDir::new()?;
        let mut replicas: Vec<Pds> = Vec::with_capacity(count);
        for _ in 0..count {
            let mut config = Config::for_tests();
            config.identity.plc_url = plc.url();
            config.blobstore = BlobstoreConfig::on_disk(blobs.path().to_owned());
            // All replicas are one service, and have the public URL of the first one.
            if let Some(first) = replicas.first() {
                config.service.port = first.local_addr().port();
                config.deployment.listen_port = Some(0);
            }
            change(&mut config);
            let mut overrides = Overrides::default();
            overrides.database = Some(db.other_pool());
            let mut replica = Pds::create(config, overrides).await?;
            replica.start();
            replicas.push(replica);
        }
        Ok(Self { replicas, plc, db, blobs })
    }

    /// The folder with the bytes of blobs.
    pub(crate) fn blobs(&self) -> &Path {
        self.blobs.path()
    }

    /// One replica.
    pub(crate) fn replica(&self, index: usize) -> &Pds {
        &self.replicas[index]
    }

    /// A client of one replica.
    pub(crate) fn api(&self, index: usize) -> Client {
        Client::new(self.replicas[index].local_url())
    }

    /// The PLC directory of the replicas.
    pub(crate) fn plc(&self) -> &FakePlc {
        &self.plc
    }

    /// The database of the replicas.
    pub(crate) fn db(&self) -> &TestDb {
        &self.db
    }

    /// Signs an account up, at the first replica.
    ///
    /// # Errors
    /// The replica refuses.
    pub(crate) async fn create_account(&self, handle: &str) -> Result<Account> {
        Account::create(&self.api(0), handle).await
    }
}
