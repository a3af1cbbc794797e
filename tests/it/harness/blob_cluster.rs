//! Two replicas, and the store of their blobs, whichever it is.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use atproto::data::Cid;
use bytes::Bytes;
use common::config::Config;
use common::testing::FakeS3;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::account::Account;
use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};

/// What records that show blobs are kept in.
const COLLECTION: &str = "com.example.picture";
/// How long what is left of a request may be there after it.
const LIMIT: Duration = Duration::from_mins(1);

/// Two replicas with one account.
#[derive(Debug)]
pub(crate) struct BlobCluster {
    /// The replicas.
    pub(crate) cluster: Cluster,
    /// Who uploads.
    pub(crate) alice: Account,
    /// The store, unless it is a folder.
    pub(crate) s3: Option<FakeS3>,
}

impl BlobCluster {
    /// Replicas on a disk, and others on S3.
    ///
    /// # Panics
    /// If they do not start.
    pub(crate) async fn on_each_store(change: impl Fn(&mut Config)) -> [Self; 2] {
        [Self::start(None, &change).await, Self::start(Some(FakeS3::start().await), &change).await]
    }

    /// Replicas with blobs in this store, or on a disk.
    ///
    /// # Panics
    /// If they do not start.
    pub(crate) async fn start(s3: Option<FakeS3>, change: impl Fn(&mut Config)) -> Self {
        let cluster = Cluster::start_with(Replicas(2), |config| {
            if let Some(s3) = &s3 {
                config.blobstore = s3.config();
            }
            change(config);
        });
        let cluster = cluster.await.unwrap();
        let alice = cluster.create_account("alice.test").await.unwrap();
        Self { cluster, alice, s3 }
    }

    /// A client of one replica or the other, by any number.
    pub(crate) fn api(&self, number: usize) -> Client {
        self.cluster.api(number % 2)
    }

    /// Where uploads wait for their end.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.s3.as_ref().map_or_else(|| self.cluster.blobs().join("tempt"), FakeS3::uploads)
    }

    /// The folder with the account's objects; it may not be there.
    pub(crate) fn objects(&self) -> PathBuf {
        let did = self.alice.did.as_str();
        self.s3.as_ref().map_or_else(|| self.cluster.blobs().join(did), |s3| s3.file(&format!("blocks/{did}")))
    }

    /// Writes a record that shows a blob, at one replica.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) async fn show(&self, number: usize, rkey: &str, blob: &Value) -> Result<Value> {
        let record = json!({ "picture": blob });
        let input = json!({ "repo": self.alice.did, "collection": COLLECTION, "rkey": rkey, "record": record });
        self.api(number).post("com.atproto.repo.createRecord", Some(&self.alice.token), &input).await
    }

    /// Reads a blob at one replica.
    ///
    /// # Errors
    /// The server refuses, or breaks off.
    pub(crate) async fn read(&self, number: usize, cid: Cid) -> Result<Bytes> {
        let cid = cid.to_string();
        let params = [("did", self.alice.did.as_str()), ("cid", cid.as_str())];
        self.api(number).get_bytes("com.atproto.sync.getBlob", &params).await
    }

    /// Checks that the account has so many blobs and no more, that the store has an object for each, and that nothing is left
    /// of other uploads.
    ///
    /// # Panics
    /// If it is not so.
    pub(crate) async fn assert_kept(&self, count: usize) {
        for number in 0..2 {
            let method = "internal.rookery.server.getBlobUsage";
            let usage = self.api(number).get_as(&self.alice.token, method, &[]).await.unwrap();
            assert_eq!(usage["count"], json!(count));
        }
        assert_eq!(entries(self.objects()), count);
        let cleaned = async {
            while entries(self.uploads()) > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, cleaned).await.expect("nothing is left of uploads");
    }
}

/// How much is in a folder, which may not be there.
pub(crate) fn entries(folder: PathBuf) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// A reference to these bytes.
pub(crate) fn reference(bytes: &[u8], media_type: &str) -> Value {
    let link = json!({ "$link": Cid::raw(bytes) });
    json!({ "$type": "blob", "ref": link, "mimeType": media_type, "size": bytes.len() })
}
