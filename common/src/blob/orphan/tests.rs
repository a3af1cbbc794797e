//! What has no row, and what only seems so.

use std::collections::BTreeSet;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

use super::*;
use crate::blob::{Blobs, ObjectId};
use crate::clock::Clock;
use crate::config::BlobstoreConfig;
use crate::testing::{FakeS3, TestDb, seed};

const HOUR: Duration = Duration::from_hours(1);

fn did(handle: &str) -> Did {
    seed::did_of(handle).parse().unwrap()
}

async fn put(blobs: &Blobs, objects: &Objects, did: &Did, bytes: &[u8]) {
    let mut spool = blobs.spool();
    spool.push(bytes).await.unwrap();
    let content = spool.finish().await.unwrap();
    objects.put(ObjectId { did, cid: content.cid() }, content).await.unwrap();
}

async fn assert_finds_orphans(store: &BlobstoreConfig) {
    let db = TestDb::create().await;
    let objects = Objects::from_config(store);
    objects.check().await.unwrap();
    let (blobs, orphans) = (Blobs::new(db.pool(), objects.clone()), Orphans::new(db.pool(), objects.clone()));
    let (alice, bob) = (did("alice.test"), did("bob.test"));
    seed::account(&db.pool(), "alice.test").await;
    for bytes in [&b"known"[..], b"unknown", b"hidden"] {
        put(&blobs, &objects, &alice, bytes).await;
    }
    // Bob's: the same bytes, but nobody has an account for them.
    put(&blobs, &objects, &bob, b"known").await;
    seed::blob(&db.pool(), alice.as_str(), b"known").await;
    for bytes in [&b"unknown"[..], b"hidden"] {
        let id = ObjectId { did: &alice, cid: Cid::raw(bytes) };
        assert!(objects.quarantine(id, Clock::system().now()).await.unwrap());
    }
    seed::blob(&db.pool(), alice.as_str(), b"hidden").await;

    let find = async |before: DateTime<Utc>| {
        let mut found = Vec::new();
        let mut pages = orphans.pages();
        while let Some(page) = pages.try_next().await.unwrap() {
            found.extend(orphans.find(page, before).await.unwrap());
        }
        found
    };
    let now = Clock::system().now();
    assert_eq!(find(now - HOUR).await, [], "they may be on their way");
    let found = find(now + HOUR).await;
    let names: BTreeSet<_> = found.iter().map(|object| (object.did.clone(), object.cid)).collect();
    assert_eq!(names, [(alice.clone(), Cid::raw(b"unknown")), (bob, Cid::raw(b"known"))].into());
    assert_eq!(found.iter().map(|object| object.size).sum::<u64>(), 12);

    // Whoever uploads it before it is given up keeps it.
    seed::blob(&db.pool(), alice.as_str(), b"unknown").await;
    assert_eq!(orphans.give_up(&found).await.unwrap(), 1);
    assert_eq!(seed::blob_deletions(&db.pool()).await, 1);
    assert_eq!(find(now + HOUR).await, [], "it is being deleted");
}

#[tokio::test]
async fn orphans_are_found_in_a_folder() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
    assert_finds_orphans(&BlobstoreConfig::on_disk(folder.path().to_owned())).await;
}

#[tokio::test]
async fn orphans_are_found_in_a_bucket() {
    let s3 = FakeS3::start().await;
    assert_finds_orphans(&s3.config()).await;
}

#[tokio::test]
async fn a_listing_has_pages_and_counts_what_is_not_ours() {
    let folder = TempDir::new().unwrap();
    let objects = Objects::from_config(&BlobstoreConfig::on_disk(folder.path().to_owned()));
    objects.check().await.unwrap();
    let account = folder.path().join(did("alice.test").as_str());
    std::fs::create_dir(&account).unwrap();
    for number in 0..1_100_u32 {
        std::fs::write(account.join(Cid::raw(&number.to_be_bytes()).to_string()), "").unwrap();
    }
    for name in ["notes.txt", "did"] {
        std::fs::write(folder.path().join(name), "").unwrap();
        std::fs::write(account.join(name), "").unwrap();
    }
    let pages: Vec<Page> = objects.list().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.objects.len()).collect::<Vec<_>>(), [500, 500, 100]);
    assert_eq!(pages.iter().map(|page| page.foreign).sum::<u64>(), 4);
    // Nobody need listen to the end.
    assert!(objects.list().try_next().await.unwrap().is_some());
}
