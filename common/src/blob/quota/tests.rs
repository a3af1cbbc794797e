//! What fits in, also when many come at once.

use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::blob::{Blobs, Objects, UploadError};
use crate::config::{BlobstoreConfig, Config};
use crate::testing::{FakeS3, S3Fault, TestDb, seed};

struct Scene {
    db: TestDb,
    blobs: Blobs,
    alice: AccountId,
    did: Did,
    folder: Option<TempDir>,
}

impl Scene {
    async fn start(quota: BlobQuota) -> Self {
        let folder = TempDir::new().unwrap();
        let scene = Self::start_in(quota, &BlobstoreConfig::on_disk(folder.path().to_owned())).await;
        Self { folder: Some(folder), ..scene }
    }

    async fn start_in(quota: BlobQuota, store: &BlobstoreConfig) -> Self {
        let (db, objects) = (TestDb::create().await, Objects::from_config(store));
        objects.check().await.unwrap();
        let alice = seed::account(&db.pool(), "alice.test").await;
        let mut rules = Config::for_tests().blob;
        rules.quota = quota;
        let blobs = Blobs::new(db.pool(), objects).with_rules(&rules);
        Self { blobs, alice, did: seed::did_of("alice.test").parse().unwrap(), db, folder: None }
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
    // Of who was refused nothing was stored, so nothing is in the way of the next try.
    let files = std::fs::read_dir(scene.folder.as_ref().unwrap().path().join(scene.did.as_str())).unwrap().count();
    assert_eq!((files, seed::blob_deletions(&scene.db.pool()).await), (5, 0));
    scene.own(Some(quota(None, 12))).await;
    for bytes in &pictures {
        scene.upload(bytes).await.unwrap();
    }
    assert_eq!(scene.usage().await, (96, 12));
}

#[tokio::test]
async fn an_upload_that_broke_off_keeps_its_place_for_some_minutes() {
    let scene = Scene::start(quota(10, None)).await;
    let reserve = async |bytes: &[u8]| {
        let mut conn = scene.db.pool().acquire().await.unwrap();
        let mut transaction = conn.begin().await.unwrap();
        let blob = StoredBlob { cid: Cid::raw(bytes), mime_type: "image/png".to_owned(), size: bytes.len() as u64 };
        let reserved = super::reserve(&mut transaction, scene.alice, quota(10, None), &blob).await.unwrap();
        transaction.commit().await.unwrap();
        reserved
    };
    reserve(&[1; 6]).await.unwrap();
    reserve(&[1; 6]).await.expect("the same place");
    let refused = reserve(&[2; 5]).await;
    assert_eq!(refused, Err(QuotaExceeded::Bytes { used: 6, limit: 10 }));
    assert!(matches!(scene.upload(&[2; 5]).await, Err(UploadError::Quota(QuotaExceeded::Bytes { used: 6, .. }))));
    scene.upload(&[1; 6]).await.expect("it has its place");
    assert_eq!(reserve(&[2; 5]).await, Err(QuotaExceeded::Bytes { used: 6, limit: 10 }), "counted once");
    reserve(&[3; 4]).await.unwrap();
    seed::age_blobs(&scene.db.pool(), Duration::from_mins(10)).await;
    scene.upload(&[4; 4]).await.expect("the other did not come");
    assert_eq!(scene.usage().await, (10, 2));
    // It comes after all, past its time.
    assert!(matches!(scene.upload(&[3; 4]).await, Err(UploadError::Quota(_))));
}

#[tokio::test]
async fn an_upload_that_the_store_fails_gives_its_place_back() {
    let s3 = FakeS3::start().await;
    let scene = Scene::start_in(quota(10, None), &s3.config()).await;
    s3.set_fault(Some(S3Fault::Down));
    assert!(matches!(scene.upload(&[1; 6]).await, Err(UploadError::Store(_))));
    s3.set_fault(None);
    scene.upload(&[2; 6]).await.unwrap();
}
