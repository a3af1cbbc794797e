//! What goes, what stays, and who may come between.

use std::path::Path;

use atproto::syntax::Tid;
use tempfile::TempDir;

use super::*;
use crate::blob::{Blobs, Reference, UploadError, insert_references};
use crate::config::BlobstoreConfig;
use crate::testing::{FakeS3, S3Fault, TestDb, seed};

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);

struct Scene {
    db: TestDb,
    blobs: Blobs,
    collector: Collector,
    alice: AccountId,
    did: Did,
}

impl Scene {
    async fn start(store: &BlobstoreConfig) -> Self {
        let db = TestDb::create().await;
        let objects = Objects::from_config(store);
        objects.check().await.unwrap();
        let alice = seed::account(&db.pool(), "alice.test").await;
        Self {
            blobs: Blobs::new(db.pool(), objects.clone()),
            collector: Collector::new(db.pool(), objects, DAY),
            alice,
            did: seed::did_of("alice.test").parse().unwrap(),
            db,
        }
    }

    async fn upload(&self, bytes: &[u8]) -> Result<Cid, UploadError> {
        let mut spool = self.blobs.spool();
        spool.push(bytes).await.unwrap();
        let content = spool.finish().await.unwrap();
        Ok(self.blobs.upload(self.alice, &self.did, content, "image/png").await?.cid)
    }

    async fn refer(&self, cid: Cid) {
        let reference = Reference { cid, collection: "com.example.note".parse().unwrap(), rkey: "a".parse().unwrap() };
        let rev: Tid = "3jzfcijpj2z2a".parse().unwrap();
        insert_references(&mut self.db.pool().acquire().await.unwrap(), self.alice, rev, &[reference]).await.unwrap();
    }

    async fn has_bytes(&self, bytes: &[u8]) -> bool {
        let id = ObjectId { did: &self.did, cid: Cid::raw(bytes) };
        self.blobs.has_bytes(id, bytes.len() as u64).await.unwrap()
    }

    /// Everything becomes so much older.
    async fn pass(&self, time: Duration) {
        seed::age_blobs(&self.db.pool(), time).await;
    }

    async fn collect(&self) -> [usize; 2] {
        let Collected { blobs, objects } = self.collector.collect().await.unwrap();
        [blobs, objects]
    }

    async fn deletions(&self) -> i64 {
        seed::blob_deletions(&self.db.pool()).await
    }
}

fn on_disk(folder: &Path) -> BlobstoreConfig {
    BlobstoreConfig::on_disk(folder.to_owned())
}

#[tokio::test]
async fn an_upload_that_nothing_refers_to_goes_after_its_time() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let used = scene.upload(b"used").await.unwrap();
    scene.upload(b"unused").await.unwrap();
    let hidden = scene.upload(b"hidden").await.unwrap();
    seed::take_blob_down(&scene.db.pool(), hidden).await;
    scene.refer(used).await;
    scene.pass(Duration::from_hours(23)).await;
    assert_eq!(scene.collect().await, [0, 0], "too early");
    scene.upload(b"fresh").await.unwrap();
    scene.pass(HOUR).await;
    assert_eq!(scene.collect().await, [1, 0], "its bytes not yet");
    assert!(scene.has_bytes(b"unused").await);
    assert!(matches!(scene.upload(b"unused").await, Err(UploadError::BeingDeleted)));

    scene.pass(Duration::from_mins(2)).await;
    assert_eq!(scene.collect().await, [0, 1]);
    assert!(!scene.has_bytes(b"unused").await);
    for stays in [&b"used"[..], b"hidden", b"fresh"] {
        assert!(scene.has_bytes(stays).await, "{stays:?}");
    }
    assert!(matches!(scene.upload(b"unused").await, Err(UploadError::BeingDeleted)), "a late request may come");
    scene.pass(Duration::from_mins(11)).await;
    assert_eq!((scene.collect().await, scene.deletions().await), ([0, 0], 0));
    scene.upload(b"unused").await.unwrap();
    assert!(scene.has_bytes(b"unused").await);
    scene.pass(DAY * 2).await;
    assert_eq!(scene.collect().await, [2, 0], "what a record refers to never goes");
}

#[tokio::test]
async fn an_upload_anew_begins_a_new_time() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    scene.upload(b"twice").await.unwrap();
    scene.pass(DAY).await;
    scene.upload(b"twice").await.unwrap();
    assert_eq!(scene.collect().await, [0, 0]);
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [1, 0]);
}

#[tokio::test]
async fn who_uploads_or_commits_at_the_same_moment_wins() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    scene.upload(b"held").await.unwrap();
    scene.upload(b"unused").await.unwrap();
    scene.pass(DAY).await;
    let pool = scene.db.pool();
    let mut conn = pool.acquire().await.unwrap();
    let mut writer = conn.begin().await.unwrap();
    seed::lock_blob(&mut writer, Cid::raw(b"held")).await;
    assert_eq!(scene.collect().await, [1, 0], "what somebody holds is left alone");
    writer.commit().await.unwrap();

    // An upload that looked before the row was given up stores its own all the same.
    seed::blob(&pool, scene.did.as_str(), b"unused").await;
    scene.pass(Duration::from_mins(2)).await;
    assert_eq!((scene.collect().await, scene.deletions().await), ([1, 0], 1));
    assert!(scene.has_bytes(b"unused").await, "the account has it again");
}

#[tokio::test]
async fn the_blobs_of_a_deleted_account_go_but_not_those_of_one_that_came_back() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&on_disk(folder.path())).await;
    let pool = scene.db.pool();
    for bytes in [&b"1"[..], b"2", b"3"] {
        scene.upload(bytes).await.unwrap();
    }
    scene.refer(Cid::raw(b"1")).await;
    let conn = &mut *pool.acquire().await.unwrap();
    assert_eq!(give_up(conn, scene.alice, &scene.did, 10).await.unwrap(), 0, "it is not deleted");
    seed::delete_account(&pool, scene.did.as_str()).await;
    assert_eq!(give_up(conn, scene.alice, &scene.did, 2).await.unwrap(), 2);
    assert_eq!(give_up(conn, scene.alice, &scene.did, 2).await.unwrap(), 1);

    seed::account(&pool, "alice.test").await;
    seed::blob(&pool, scene.did.as_str(), b"2").await;
    scene.pass(Duration::from_mins(2)).await;
    assert_eq!(scene.collect().await, [0, 2]);
    let left = [scene.has_bytes(b"1").await, scene.has_bytes(b"2").await, scene.has_bytes(b"3").await];
    assert_eq!(left, [false, true, false]);
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again() {
    let s3 = FakeS3::start().await;
    let scene = Scene::start(&s3.config()).await;
    for bytes in [&b"1"[..], b"2"] {
        scene.upload(bytes).await.unwrap();
    }
    scene.pass(DAY).await;
    assert_eq!(scene.collect().await, [2, 0]);
    scene.pass(Duration::from_mins(2)).await;
    s3.set_fault(Some(S3Fault::Down));
    assert!(matches!(scene.collector.collect().await, Err(CollectError::Store { failed: 2, .. })));
    s3.set_fault(None);
    assert_eq!(scene.collect().await, [0, 2]);
    assert!(!scene.has_bytes(b"1").await && !scene.has_bytes(b"2").await);
}
