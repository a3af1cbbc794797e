//! What fits in, also when many come at once.

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::blob::{Blobs, Objects, UploadError};
use crate::config::{BlobstoreConfig, Config};
use crate::testing::{TestDb, seed};

struct Scene {
    db: TestDb,
    blobs: Blobs,
    alice: AccountId,
    did: Did,
    folder: TempDir,
}

impl Scene {
    async fn start(quota: BlobQuota) -> Self {
        let (db, folder) = (TestDb::create().await, TempDir::new().unwrap());
        let objects = Objects::from_config(&BlobstoreConfig::on_disk(folder.path().to_owned()));
        objects.check().await.unwrap();
        let alice = seed::account(&db.pool(), "alice.test").await;
        let mut rules = Config::for_tests().blob;
        rules.quota = quota;
        let blobs = Blobs::new(db.pool(), objects).with_rules(&rules);
        Self { blobs, alice, did: seed::did_of("alice.test").parse().unwrap(), db, folder }
    }

    async fn upload(&self, bytes: &[u8]) -> Result<(), UploadError> {
        let mut spool = self.blobs.spool();
        spool.push(bytes).await.unwrap();
        let content = spool.finish().await.unwrap();
        self.blobs.upload(self.alice, &self.did, content, "image/png").await.map(drop)
    }

    async fn own(&self, quota: Option<BlobQuota>) {
        assert!(self.blobs.quotas().set(&Actor::Admin, &self.did, quota).await.unwrap());
    }

    async fn usage(&self) -> (u64, u64) {
        let BlobUsage { bytes, count } = self.blobs.quotas().usage(self.alice).await.unwrap();
        (bytes, count)
    }
}

fn quota(bytes: impl Into<Option<u64>>, count: impl Into<Option<u64>>) -> BlobQuota {
    BlobQuota { bytes: bytes.into(), count: count.into() }
}

#[tokio::test]
async fn what_does_not_fit_in_is_refused() {
    let scene = Scene::start(quota(10, 3)).await;
    scene.upload(&[1; 10]).await.unwrap();
    let error = scene.upload(b"2").await.unwrap_err();
    assert_eq!(error.to_string(), "Storage quota exceeded: 10 of 10 bytes are in use");
    scene.upload(&[1; 10]).await.expect("it is there already");
    scene.own(Some(quota(None, 2))).await;
    scene.upload(&[2; 1000]).await.unwrap();
    let error = scene.upload(b"3").await.unwrap_err();
    assert_eq!(error.to_string(), "Storage quota exceeded: 2 of 2 blobs are there");
    scene.own(Some(quota(0, None))).await;
    assert!(matches!(scene.upload(b"3").await, Err(UploadError::Quota(QuotaExceeded::Bytes { .. }))));
    assert_eq!(scene.blobs.quotas().find(scene.alice).await.unwrap(), quota(0, None));
    scene.own(None).await;
    assert_eq!(scene.blobs.quotas().find(scene.alice).await.unwrap(), quota(10, 3));
    assert_eq!(scene.usage().await, (1010, 2));

    let bob: Did = "did:web:nobody.test".parse().unwrap();
    assert!(!scene.blobs.quotas().set(&Actor::Admin, &bob, None).await.unwrap());
}

#[tokio::test]
async fn two_at_once_do_not_get_the_last_place_both() {
    let scene = Scene::start(quota(None, 5)).await;
    let pictures: Vec<[u8; 8]> = (0..12_u64).map(u64::to_be_bytes).collect();
    let taken = join_all(pictures.iter().map(|bytes| scene.upload(bytes))).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 5);
    assert!(taken.iter().all(|taken| matches!(taken, Ok(()) | Err(UploadError::Quota(_)))), "{taken:?}");
    assert_eq!(scene.usage().await, (40, 5));
    // Whose bytes were stored before it was refused is on its way out.
    let given_up = seed::blob_deletions(&scene.db.pool()).await;
    let files = std::fs::read_dir(scene.folder.path().join(scene.did.as_str())).unwrap().count();
    assert_eq!(files, 5 + usize::try_from(given_up).unwrap());
}
