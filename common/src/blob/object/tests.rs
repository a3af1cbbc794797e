//! What every store does, and what each does when it fails.

use std::path::Path;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

use super::spool::MEMORY_LIMIT;
use super::*;
use crate::clock::Clock;
use crate::config::{Config, DiskConfig, S3Config};
use crate::testing::{FakeS3, S3Fault};

const ALICE: &str = "did:plc:alicealicealicealicealic";
/// With an escape, which paths and copies must keep.
const BOB: &str = "did:web:bob.example.com%3A8443";
const IMAGE: &str = "image/png";

fn did(text: &str) -> Did {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    Clock::system().now()
}

async fn content(objects: &Objects, bytes: &[u8]) -> Content {
    let mut spool = objects.spool();
    spool.push(bytes).await.unwrap();
    spool.finish().await.unwrap()
}

async fn put(objects: &Objects, did: &Did, bytes: &[u8]) -> Cid {
    let content = content(objects, bytes).await;
    let cid = content.cid();
    objects.put(ObjectId { did, cid }, content).await.unwrap();
    cid
}

async fn read(objects: &Objects, id: ObjectId<'_>, range: Option<Range<u64>>) -> Option<Vec<u8>> {
    let object = objects.get(id, range).await.unwrap()?;
    let pieces: Vec<Bytes> = object.bytes.try_collect().await.unwrap();
    assert_eq!(object.len, pieces.iter().map(|piece| piece.len() as u64).sum::<u64>());
    Some(pieces.concat())
}

/// What Rookery asks of a store, whichever it is. Leaves nothing behind in it.
async fn assert_conforms(objects: &Objects) {
    objects.check().await.unwrap();
    let (alice, bob) = (did(ALICE), did(BOB));
    let missing = ObjectId { did: &alice, cid: Cid::raw(b"missing") };
    assert!(read(objects, missing, None).await.is_none());
    assert_eq!(objects.size(missing).await.unwrap(), None);
    objects.delete(missing, now()).await.unwrap();
    assert!(!objects.quarantine(missing, now()).await.unwrap() && !objects.restore(missing).await.unwrap());

    for len in [1, 1000, 300_000, MEMORY_LIMIT + 1, 2 * MEMORY_LIMIT + 3] {
        let bytes: Vec<u8> = (0..=252).cycle().take(len).collect();
        let id = ObjectId { did: &alice, cid: Cid::raw(&bytes) };
        // The second time, it is there already.
        for _ in 0..2 {
            put(objects, &alice, &bytes).await;
            assert_eq!(objects.size(id).await.unwrap(), Some(len as u64));
            assert!(read(objects, id, None).await.unwrap() == bytes, "{len} bytes come back");
        }
        objects.delete(id, now()).await.unwrap();
    }
    assert_ranges(objects, &alice).await;
    assert_presigned(objects, &bob).await;
    assert_accounts_are_apart(objects, &alice, &bob).await;
    assert_late_deletions_are_refused(objects, &alice).await;
    assert_listed(objects, &bob).await;
}

async fn assert_listed(objects: &Objects, did: &Did) {
    let id = ObjectId { did, cid: put(objects, did, b"to be found").await };
    let count = async || {
        let pages: Vec<Page> = objects.list().try_collect().await.unwrap();
        let all = pages.iter().flat_map(|page| &page.objects);
        all.filter(|found| (&found.did, found.cid, found.size) == (did, id.cid, 11)).count()
    };
    assert_eq!(count().await, 1);
    objects.quarantine(id, now()).await.unwrap();
    assert_eq!(count().await, 1, "taken down");
    objects.delete(id, now()).await.unwrap();
    assert_eq!(count().await, 0);
}

async fn assert_late_deletions_are_refused(objects: &Objects, did: &Did) {
    let id = ObjectId { did, cid: put(objects, did, b"uploaded again").await };
    for age in [OBEYED + Duration::from_secs(5), Duration::from_hours(24)] {
        assert!(matches!(objects.delete(id, now() - age).await, Err(StoreError::Failed(_))), "{age:?}");
        assert!(matches!(objects.quarantine(id, now() - age).await, Err(StoreError::Failed(_))), "{age:?}");
        assert_eq!(read(objects, id, None).await.unwrap(), b"uploaded again");
    }
    objects.delete(id, now() - OBEYED / 2).await.unwrap();
    assert!(read(objects, id, None).await.is_none() && !objects.restore(id).await.unwrap());
}

async fn assert_ranges(objects: &Objects, did: &Did) {
    let bytes: Vec<u8> = (0..=252).cycle().take(700_000).collect();
    let id = ObjectId { did, cid: put(objects, did, &bytes).await };
    for range in [0..1, 0..700_000, 5..6, 1000..600_000, 699_999..700_000] {
        let slice = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(read(objects, id, Some(range.clone())).await.unwrap() == slice, "{range:?}");
    }
    objects.delete(id, now()).await.unwrap();
}

async fn assert_presigned(objects: &Objects, did: &Did) {
    let (bytes, hour) = (b"for everybody".to_vec(), Duration::from_hours(1));
    let id = ObjectId { did, cid: put(objects, did, &bytes).await };
    // A folder has no address.
    let Some(address) = objects.presign(id, IMAGE, hour).await.unwrap() else {
        return objects.delete(id, now()).await.unwrap();
    };
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(&address).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &IMAGE.parse().unwrap()));
    assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(answer.bytes().await.unwrap() == bytes);
    let forged = address.replace(&id.cid.to_string(), &Cid::raw(b"other").to_string());
    assert_eq!(client.get(forged).send().await.unwrap().status().as_u16(), 403, "it is for this one only");
    objects.delete(id, now()).await.unwrap();
}

async fn assert_accounts_are_apart(objects: &Objects, alice: &Did, bob: &Did) {
    let cid = put(objects, alice, b"both have it").await;
    put(objects, bob, b"both have it").await;
    let (alices, bobs) = (ObjectId { did: alice, cid }, ObjectId { did: bob, cid });
    for (id, other) in [(alices, bobs), (bobs, alices)] {
        assert!(objects.quarantine(id, now()).await.unwrap());
        assert!(read(objects, id, None).await.is_none() && objects.size(id).await.unwrap().is_none());
        assert!(!objects.quarantine(id, now()).await.unwrap(), "it is there already");
        assert_eq!(read(objects, other, None).await.unwrap(), b"both have it");
        assert!(objects.restore(id).await.unwrap());
        assert_eq!(read(objects, id, None).await.unwrap(), b"both have it");
    }
    objects.delete(alices, now()).await.unwrap();
    assert!(read(objects, alices, None).await.is_none());
    assert_eq!(read(objects, bobs, None).await.unwrap(), b"both have it");
    objects.quarantine(bobs, now()).await.unwrap();
    objects.delete(bobs, now()).await.unwrap();
    assert!(!objects.restore(bobs).await.unwrap(), "deleted in quarantine as well");
}

fn on_disk(folder: &Path) -> Objects {
    Objects::from_config(&BlobstoreConfig::on_disk(folder.to_owned()))
}

fn in_s3(config: S3Config) -> Objects {
    Objects::from_config(&BlobstoreConfig::S3(config))
}

fn assert_empty(folder: &Path) {
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "uploads leave nothing behind");
}

#[tokio::test]
async fn a_folder_conforms() {
    let folder = TempDir::new().unwrap();
    assert_conforms(&on_disk(folder.path())).await;
    assert_empty(&folder.path().join("tempt"));
}

#[tokio::test]
async fn a_bucket_conforms() {
    let s3 = FakeS3::start().await;
    for checksums in [false, true] {
        assert_conforms(&in_s3(S3Config { checksums, ..s3.s3_config() })).await;
    }
    assert_empty(&s3.uploads());
}

/// See `make test-s3`.
#[tokio::test]
#[ignore = "needs a store that the environment names"]
async fn a_real_bucket_conforms() {
    let config = Config::blobstore_from_env().unwrap();
    assert!(matches!(config, BlobstoreConfig::S3(_)), "a bucket, not a folder");
    assert_conforms(&Objects::from_config(&config)).await;
}

#[tokio::test]
async fn objects_are_where_the_reference_server_has_them() {
    let (folder, s3, alice) = (TempDir::new().unwrap(), FakeS3::start().await, did(ALICE));
    let (disk, bucket) = (on_disk(folder.path()), Objects::from_config(&s3.config()));
    disk.check().await.unwrap();
    let id = ObjectId { did: &alice, cid: put(&disk, &alice, b"picture").await };
    put(&bucket, &alice, b"picture").await;
    let name = format!("{ALICE}/{}", id.cid);
    let bytes = std::fs::read(folder.path().join(&name)).unwrap();
    assert_eq!((bytes.as_slice(), s3.file(&format!("blocks/{name}")).exists()), (&b"picture"[..], true));
    disk.quarantine(id, now()).await.unwrap();
    bucket.quarantine(id, now()).await.unwrap();
    let quarantined = format!("quarantine/{name}");
    assert!(folder.path().join(&quarantined).exists() && s3.file(&quarantined).exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (location, tmp_location) in [(&file, &folder.path().to_owned()), (&folder.path().to_owned(), &file)] {
        let config = DiskConfig { location: location.clone(), tmp_location: tmp_location.clone() };
        let error = Objects::from_config(&BlobstoreConfig::Disk(config)).check().await.unwrap_err();
        assert!(matches!(error, CheckError::Folder { .. }), "{error:?}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_from_one_that_is_not_to_be_seen() {
    let s3 = FakeS3::start().await;
    let elsewhere = in_s3(S3Config { bucket: "other".to_owned(), ..s3.s3_config() });
    assert!(matches!(elsewhere.check().await, Err(CheckError::NoBucket(name)) if name == "other"));
    let mut config = s3.s3_config();
    config.credentials.as_mut().unwrap().secret_access_key = "a guess".into();
    assert!(matches!(in_s3(config).check().await, Err(CheckError::Unknown(_))));
    s3.set_fault(Some(S3Fault::Down));
    assert!(matches!(Objects::from_config(&s3.config()).check().await, Err(CheckError::Unknown(_))));
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_and_comes_back() {
    let (s3, alice) = (FakeS3::start().await, did(ALICE));
    let brief = Duration::from_millis(300);
    let objects = in_s3(S3Config { upload_timeout: brief, request_timeout: brief, ..s3.s3_config() });
    let patient = Objects::from_config(&s3.config());
    let id = ObjectId { did: &alice, cid: put(&patient, &alice, b"picture").await };

    s3.set_fault(Some(S3Fault::Silent));
    let bytes = content(&objects, b"picture").await;
    assert!(matches!(objects.put(id, bytes).await, Err(StoreError::Timeout)));
    assert!(matches!(objects.get(id, None).await, Err(StoreError::Timeout)));
    s3.set_fault(Some(S3Fault::Down));
    let bytes = content(&patient, &vec![7; MEMORY_LIMIT + 1]).await;
    let large = ObjectId { did: &alice, cid: bytes.cid() };
    assert!(matches!(patient.put(large, bytes).await, Err(StoreError::Failed(_))));
    assert!(matches!(patient.get(id, None).await, Err(StoreError::Failed(_))));
    assert!(matches!(patient.size(id).await, Err(StoreError::Failed(_))));
    assert!(matches!(patient.delete(id, now()).await, Err(StoreError::Failed(_))));
    assert!(matches!(patient.quarantine(id, now()).await, Err(StoreError::Failed(_))));

    s3.set_fault(Some(S3Fault::BreaksOff));
    let object = patient.get(id, None).await.unwrap().unwrap();
    object.bytes.try_collect::<Vec<Bytes>>().await.expect_err("it ends early, which must not look like an end");
    s3.set_fault(None);
    assert_eq!(read(&patient, id, None).await.unwrap(), b"picture");
    assert_empty(&s3.uploads());
}
