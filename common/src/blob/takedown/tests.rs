//! Where the bytes of hidden blobs are.

use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::TimeDelta;
use tempfile::TempDir;

use super::*;
use crate::blob::{Objects, Reference, UploadError, insert_references};
use crate::clock::Clock;
use crate::config::BlobstoreConfig;
use crate::db::AccountId;
use crate::jobs::{Filter, Jobs};
use crate::testing::{FakeS3, TestDb, seed};

const BYTES: &[u8] = b"picture";

struct Scene {
    db: TestDb,
    blobs: Blobs,
    accounts: [(AccountId, Did); 2],
}

impl Scene {
    /// Two accounts that show the same picture.
    async fn start(store: &BlobstoreConfig) -> Self {
        let db = TestDb::create().await;
        let objects = Objects::from_config(store);
        objects.check().await.unwrap();
        let blobs = Blobs::new(db.pool(), objects);
        let mut accounts = Vec::new();
        for handle in ["alice.test", "bob.test"] {
            let account = seed::account(&db.pool(), handle).await;
            accounts.push((account, seed::did_of(handle).parse().unwrap()));
        }
        let scene = Self { db, blobs, accounts: accounts.try_into().unwrap() };
        for (account, did) in &scene.accounts {
            scene.upload(*account, did).await.unwrap();
            let (collection, rkey) = ("com.example.note".parse().unwrap(), "a".parse().unwrap());
            let reference = Reference { cid: Cid::raw(BYTES), collection, rkey };
            let conn = &mut *scene.db.pool().acquire().await.unwrap();
            insert_references(conn, *account, "3jzfcijpj2z2a".parse().unwrap(), &[reference]).await.unwrap();
        }
        scene
    }

    async fn upload(&self, account: AccountId, did: &Did) -> Result<(), UploadError> {
        let mut spool = self.blobs.spool();
        spool.push(BYTES).await.unwrap();
        self.blobs.upload(account, did, spool.finish().await.unwrap(), "image/png").await.map(drop)
    }

    async fn mark(&self, reference: Option<&str>) {
        assert!(self.blobs.mark(&Actor::Admin, &self.accounts[0].1, Cid::raw(BYTES), reference).await.unwrap());
    }

    async fn place(&self) {
        self.blobs.place_object(&self.accounts[0].1, Cid::raw(BYTES)).await.unwrap();
    }

    async fn is_readable(&self, number: usize) -> bool {
        let (account, did) = &self.accounts[number];
        let id = ObjectId { did, cid: Cid::raw(BYTES) };
        self.blobs.find_readable(*account, id.cid).await.unwrap().is_some()
            && self.blobs.has_bytes(id, BYTES.len() as u64).await.unwrap()
    }

    async fn jobs(&self) -> usize {
        Jobs::new(self.db.pool()).list_jobs(Filter::default(), 0, 10).await.unwrap().len()
    }
}

/// `file` says whether there is an object in use, and one in quarantine.
async fn assert_follows_the_mark(store: &BlobstoreConfig, file: impl Fn(&Did) -> [bool; 2]) {
    let scene = Scene::start(store).await;
    let (alice, did) = &scene.accounts[0];
    let bob = &scene.accounts[1].1;
    assert_eq!(file(did), [true, false]);
    scene.mark(Some("x")).await;
    assert_eq!((scene.is_readable(0).await, scene.is_readable(1).await), (false, true), "at once");
    assert_eq!(scene.jobs().await, 2, "one now and one later");
    for _ in 0..2 {
        scene.place().await;
        assert_eq!((file(did), file(bob)), ([false, true], [true, false]));
    }
    assert!(matches!(scene.upload(*alice, did).await, Err(UploadError::Takendown)));

    scene.mark(None).await;
    assert!(scene.is_readable(0).await, "before its bytes are back");
    for _ in 0..2 {
        scene.place().await;
        assert_eq!((file(did), file(bob)), ([true, true], [true, false]));
    }
    scene.mark(Some("again")).await;
    scene.place().await;
    assert_eq!(file(did), [false, true]);
    assert!(scene.is_readable(1).await, "Bob's was never touched");
}

#[tokio::test]
async fn hidden_bytes_are_out_of_use_in_a_folder() {
    let folder = TempDir::new().unwrap();
    let has = |path: String| folder.path().join(path).exists();
    let file = |did: &Did| {
        let cid = Cid::raw(BYTES);
        [has(format!("{did}/{cid}")), has(format!("quarantine/{did}/{cid}"))]
    };
    assert_follows_the_mark(&BlobstoreConfig::on_disk(folder.path().to_owned()), file).await;
}

#[tokio::test]
async fn hidden_bytes_are_out_of_use_in_a_bucket() {
    let s3 = FakeS3::start().await;
    let has = |key: String| s3.file(&key).exists();
    let file = |did: &Did| {
        let cid = Cid::raw(BYTES);
        [has(format!("blocks/{did}/{cid}")), has(format!("quarantine/{did}/{cid}"))]
    };
    assert_follows_the_mark(&s3.config(), file).await;
}

#[tokio::test]
async fn an_upload_that_was_on_its_way_does_not_put_them_into_use() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&BlobstoreConfig::on_disk(folder.path().to_owned())).await;
    let (alice, did) = &scene.accounts[0];
    let in_use = folder.path().join(did.as_str()).join(Cid::raw(BYTES).to_string());
    scene.mark(Some("x")).await;
    scene.place().await;
    std::fs::write(&in_use, BYTES).unwrap();
    scene.place().await;
    assert!(!in_use.exists(), "the second look");
    assert!(matches!(scene.upload(*alice, did).await, Err(UploadError::Takendown)));
}

#[tokio::test]
async fn each_mark_has_a_second_look_of_its_own() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&BlobstoreConfig::on_disk(folder.path().to_owned())).await;
    scene.mark(Some("x")).await;
    seed::age_blobs(&scene.db.pool(), Duration::from_mins(9)).await;
    scene.mark(None).await;
    scene.mark(Some("y")).await;
    let now = Clock::system().now();
    let jobs = Jobs::new(scene.db.pool()).list_jobs(Filter::default(), 0, 10).await.unwrap();
    let due: Vec<_> = jobs.iter().map(|job| job.run_at - now).collect();
    assert_eq!(due.len(), 4, "one for the present and one for each mark");
    let late = due.iter().filter(|due| **due > TimeDelta::minutes(9)).count();
    assert_eq!(late, 2, "those of the last two, ten minutes after them: {due:?}");
}
