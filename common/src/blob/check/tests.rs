//! What is found, and what is not held against anybody.

use atproto::data::Cid;
use tempfile::TempDir;

use super::*;
use crate::blob::Blobs;
use crate::config::BlobstoreConfig;
use crate::jobs::{Filter, Jobs};
use crate::testing::{FakeS3, S3Fault, TestDb, seed};

struct Scene {
    db: TestDb,
    objects: Objects,
    checker: BlobChecker,
}

impl Scene {
    /// Two accounts with the blobs `1`, `2` and `3`.
    async fn start(store: &BlobstoreConfig) -> Self {
        let db = TestDb::create().await;
        let objects = Objects::from_config(store);
        objects.check().await.unwrap();
        let blobs = Blobs::new(db.pool(), objects.clone());
        for handle in ["alice.test", "bob.test"] {
            let (account, did) = (seed::account(&db.pool(), handle).await, seed::did_of(handle).parse().unwrap());
            for bytes in [b"1", b"2", b"3"] {
                let mut spool = blobs.spool();
                spool.push(bytes).await.unwrap();
                blobs.upload(account, &did, spool.finish().await.unwrap(), "image/png").await.unwrap();
            }
        }
        Self { checker: BlobChecker::new(db.pool(), objects.clone()), objects, db }
    }

    async fn all(&self) -> Vec<CheckedBlob> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.checker.list(None, after.as_ref(), 4).await.unwrap();
            let Some(last) = page.last() else { return all };
            after = Some(last.clone());
            all.extend(page);
        }
    }
}

#[tokio::test]
async fn each_blob_is_held_against_its_cid() {
    let folder = TempDir::new().unwrap();
    let scene = Scene::start(&BlobstoreConfig::on_disk(folder.path().to_owned())).await;
    let all = scene.all().await;
    assert_eq!(all.len(), 6);
    for blob in &all {
        assert_eq!(scene.checker.check(blob).await.unwrap(), Some(Condition::Sound));
    }
    let did: Did = seed::did_of("alice.test").parse().unwrap();
    assert_eq!(scene.checker.list(Some(&did), None, 10).await.unwrap(), all[..3]);
    let picked = scene.checker.pick().await.unwrap().unwrap();
    assert!(all.contains(&picked));

    let file = |blob: &CheckedBlob| folder.path().join(blob.did.as_str()).join(blob.cid.to_string());
    std::fs::remove_file(file(&all[0])).unwrap();
    std::fs::write(file(&all[1]), b"other").unwrap();
    seed::take_blob_down(&scene.db.pool(), all[2].cid).await;
    let check = async |number: usize| scene.checker.check(&all[number]).await.unwrap();
    assert_eq!(check(0).await, Some(Condition::Missing));
    assert_eq!(check(1).await, Some(Condition::Corrupt { found: Cid::raw(b"other"), size: 5 }));
    let hidden = scene.checker.list(Some(&did), Some(&all[1]), 1).await.unwrap();
    assert_eq!(scene.checker.check(&hidden[0]).await.unwrap(), Some(Condition::Exposed));
    scene.checker.put_out_of_use(&hidden[0]).await.unwrap();
    let jobs = Jobs::new(scene.db.pool()).list_jobs(Filter::default(), 0, 10).await.unwrap();
    let job: PlaceObject = serde_json::from_value(jobs[0].payload.clone()).unwrap();
    Blobs::new(scene.db.pool(), scene.objects.clone()).place_object(&job.did, job.cid).await.unwrap();
    assert_eq!(scene.checker.check(&hidden[0]).await.unwrap(), Some(Condition::Sound));
    assert_eq!(check(2).await, Some(Condition::Sound), "hidden since it was listed");
    assert_eq!(check(3).await, Some(Condition::Sound), "Bob's");
    seed::lose_blob(&scene.db.pool(), all[0].did.as_str(), all[0].cid).await;
    assert_eq!(check(0).await, None, "deleted since it was listed");
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_sound_nor_damaged() {
    let s3 = FakeS3::start().await;
    let scene = Scene::start(&s3.config()).await;
    let all = scene.all().await;
    for fault in [S3Fault::Down, S3Fault::BreaksOff] {
        s3.set_fault(Some(fault));
        let outcome = scene.checker.check(&all[0]).await;
        // One byte is the whole of it, and what was cut off was nothing.
        let is_whole = fault == S3Fault::BreaksOff && matches!(outcome, Ok(Some(Condition::Sound)));
        assert!(is_whole || matches!(outcome, Err(BlobError::Store(_))), "{fault:?}: {outcome:?}");
    }
    s3.set_fault(None);
    assert_eq!(scene.checker.check(&all[0]).await.unwrap(), Some(Condition::Sound));
}

#[tokio::test]
async fn nothing_is_picked_from_nothing() {
    let db = TestDb::create().await;
    let folder = TempDir::new().unwrap();
    let objects = Objects::from_config(&BlobstoreConfig::on_disk(folder.path().to_owned()));
    assert_eq!(BlobChecker::new(db.pool(), objects).pick().await.unwrap(), None);
}
