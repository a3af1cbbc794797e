//! A store that takes no more, fails, falls silent, or lost what it had.

use std::fs;
use std::time::Duration;

use atproto::data::Cid;
use common::config::{BlobstoreConfig, Config};
use common::testing::{FakePlc, FakeS3, S3Fault, TestDb};
use futures_util::future::join_all;
use reqwest::Method;

use crate::harness::account::Account;
use crate::harness::blob_cluster::{BlobCluster, entries, reference};
use crate::harness::client::{Client, Refusal};
use crate::harness::processes::Processes;

const MEGABYTE: usize = 1 << 20;
const GET: &str = "com.atproto.sync.getBlob";
/// Of each replica: more than it has connections to Postgres.
const READERS: usize = 10;

fn noise(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Time for a store to answer: for one that does in any case, and not for a test that waits for it.
fn impatient(config: &mut Config) {
    let limit = Duration::from_secs(10);
    if let BlobstoreConfig::S3(s3) = &mut config.blobstore {
        (s3.request_timeout, s3.upload_timeout) = (limit, limit);
    }
}

async fn status(scene: &BlobCluster, number: usize, cid: Cid) -> (u16, String) {
    let error = scene.read(number, cid).await.unwrap_err();
    let Refusal { status, name, .. } = error.downcast().unwrap();
    (status, name)
}

/// Reads half a blob, and notices that it is no whole one.
async fn read_half(scene: &BlobCluster, number: usize, cid: Cid, len: usize) {
    // Longer than the server is: it is the one who ends this.
    let api = Client::with_patience(scene.api(number).origin(), Duration::from_mins(1));
    let cid = cid.to_string();
    let params = [("did", scene.alice.did.as_str()), ("cid", cid.as_str())];
    let mut answer = api.ask(Method::GET, GET, &params, ("accept", "*/*")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(len as u64)));
    let mut received = 0;
    let error = loop {
        match answer.chunk().await {
            Ok(piece) => received += piece.expect("it must not look like an end").len(),
            Err(error) => break error,
        }
    };
    assert!(!error.is_timeout() && received <= len / 2, "{error:?} after {received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_store_that_falls_silent_are_not_kept() {
    let scene = BlobCluster::start(Some(FakeS3::start().await), impatient).await;
    let s3 = scene.s3.as_ref().unwrap();
    let bytes = noise(600_000);
    let (cid, len) = (Cid::raw(&bytes), bytes.len());
    let blob = scene.api(0).upload(&scene.alice.token, "image/png", bytes.clone()).await.unwrap();
    scene.show(1, "a", &blob).await.unwrap();
    s3.set_fault(Some(S3Fault::Stalls));
    join_all((0..2 * READERS).map(|number| read_half(&scene, number, cid, len))).await;
    s3.until_given_up().await;
    s3.set_fault(None);
    for number in 0..2 {
        assert!(scene.read(number, cid).await.unwrap() == bytes);
        scene.alice.post(&scene.api(number), "all is well", None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_to_a_store_that_falls_silent_are_refused_and_leave_nothing() {
    let scene = BlobCluster::start(Some(FakeS3::start().await), impatient).await;
    let s3 = scene.s3.as_ref().unwrap();
    let pictures = [noise(10), noise(3 * MEGABYTE)];
    for fault in [S3Fault::Stalls, S3Fault::Silent] {
        s3.set_fault(Some(fault));
        let (scene, pictures) = (&scene, &pictures);
        let uploads = (0..4).map(|number| async move {
            let bytes: Vec<u8> = pictures[number / 2].clone();
            let refused = scene.api(number).upload(&scene.alice.token, "image/png", bytes).await.unwrap_err();
            let text = "504 UpstreamTimeout: Operation timed out, please try again.";
            assert_eq!(refused.to_string(), text, "{fault:?}");
        });
        join_all(uploads).await;
    }
    scene.assert_kept(0).await;
    for (number, bytes) in pictures.iter().enumerate() {
        let refused = scene.show(number, "a", &reference(bytes, "image/png")).await.unwrap_err();
        assert!(refused.to_string().starts_with("400 BlobNotFound: "), "{refused}");
    }
    s3.set_fault(None);
    for (number, bytes) in pictures.iter().enumerate() {
        let blob = scene.api(number).upload(&scene.alice.token, "image/png", bytes.clone()).await.unwrap();
        scene.show(number + 1, &number.to_string(), &blob).await.unwrap();
        assert!(scene.read(number, Cid::raw(bytes)).await.unwrap() == bytes[..]);
    }
    scene.assert_kept(pictures.len()).await;
}

/// Lets the store fail, or work again: on a disk a folder and an object are not what they should be.
fn set_broken(scene: &BlobCluster, cid: Cid, broken: bool) {
    if let Some(s3) = &scene.s3 {
        return s3.set_fault(broken.then_some(S3Fault::Down));
    }
    let (uploads, object) = (scene.uploads(), scene.objects().join(cid.to_string()));
    let [uploads_aside, object_aside] = ["uploads aside", "object aside"].map(|name| scene.cluster.blobs().join(name));
    if broken {
        fs::rename(&uploads, uploads_aside).unwrap();
        fs::write(&uploads, "").unwrap();
        fs::rename(&object, object_aside).unwrap();
        fs::create_dir(&object).unwrap();
    } else {
        fs::remove_file(&uploads).unwrap();
        fs::rename(uploads_aside, &uploads).unwrap();
        fs::remove_dir(&object).unwrap();
        fs::rename(object_aside, &object).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_has_its_answer_and_loses_nothing() {
    for scene in BlobCluster::on_each_store(|_| {}).await {
        let (shown, others) = (noise(1000), [noise(10), noise(2 * MEGABYTE)]);
        let cid = Cid::raw(&shown);
        let blob = scene.api(0).upload(&scene.alice.token, "image/png", shown.clone()).await.unwrap();
        scene.show(1, "a", &blob).await.unwrap();
        set_broken(&scene, cid, true);
        for number in 0..4 {
            let bytes = others[number / 2].clone();
            let refused = scene.api(number).upload(&scene.alice.token, "image/png", bytes).await.unwrap_err();
            assert!(refused.to_string().starts_with("503 NotEnoughResources: "), "{refused}");
            assert_eq!(status(&scene, number, cid).await, (503, "NotEnoughResources".to_owned()));
        }
        set_broken(&scene, cid, false);
        scene.assert_kept(1).await;
        for number in 0..2 {
            assert!(scene.read(number, cid).await.unwrap() == shown);
        }
        for (number, bytes) in others.iter().enumerate() {
            scene.api(number).upload(&scene.alice.token, "image/png", bytes.clone()).await.unwrap();
        }
        scene.assert_kept(3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_breaks_off_or_is_lost_is_never_taken_for_a_whole_one() {
    // More than waits on the way to a reader who does not read.
    let len = 32 * MEGABYTE;
    for scene in BlobCluster::on_each_store(|config| config.service.blob_upload_limit = 1 << 30).await {
        let bytes = noise(len);
        let cid = Cid::raw(&bytes);
        let blob = scene.api(0).upload(&scene.alice.token, "image/png", bytes.clone()).await.unwrap();
        scene.show(1, "a", &blob).await.unwrap();
        let object = scene.objects().join(cid.to_string());
        for number in 0..2 {
            if let Some(s3) = &scene.s3 {
                s3.set_fault(Some(S3Fault::BreaksOff));
            }
            let name = cid.to_string();
            let params = [("did", scene.alice.did.as_str()), ("cid", name.as_str())];
            let answer = scene.api(number).ask(Method::GET, GET, &params, ("accept", "*/*")).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(len as u64)));
            match &scene.s3 {
                Some(s3) => s3.set_fault(None),
                None => fs::File::options().write(true).open(&object).unwrap().set_len(MEGABYTE as u64).unwrap(),
            }
            answer.bytes().await.expect_err("it ends early, which must not look like an end");
            fs::write(&object, &bytes[..MEGABYTE]).unwrap();
            assert_eq!(status(&scene, number, cid).await, (400, "InvalidRequest".to_owned()), "it is half an object");
            fs::remove_file(&object).unwrap();
            assert_eq!(status(&scene, number, cid).await, (400, "InvalidRequest".to_owned()), "it is lost");
            // Whoever still has the picture mends it.
            scene.api(number + 1).upload(&scene.alice.token, "image/png", bytes.clone()).await.unwrap();
            assert!(scene.read(number, cid).await.unwrap() == bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_uploads_and_nothing_else() {
    for s3 in [None, Some(FakeS3::start().await)] {
        let (db, plc) = (TestDb::create().await, FakePlc::start().await);
        let folder = tempfile::tempdir().unwrap();
        let mut replicas = Processes::new(2, db.url(), &plc, folder.path()).unwrap();
        replicas.set("PDS_BLOB_UPLOAD_LIMIT", (8 * MEGABYTE).to_string());
        let uploads = match &s3 {
            Some(s3) => {
                replicas.keep_blobs_in(s3);
                s3.uploads()
            }
            None => folder.path().join("blobs").join("tempt"),
        };
        let _running = [
            replicas.start_cramped(0, 3 * MEGABYTE).await.unwrap(),
            replicas.start_cramped(1, 3 * MEGABYTE).await.unwrap(),
        ];
        let alice = Account::create(&replicas.client(0), "alice.test").await.unwrap();
        let upload = async |number: usize, size: usize| {
            replicas.client(number % 2).upload(&alice.token, "image/png", vec![7; size]).await
        };
        for number in 0..4 {
            let refused = upload(number, 4 * MEGABYTE).await.unwrap_err().to_string();
            assert!(refused.starts_with("503 "), "{refused}");
        }
        assert_eq!(entries(uploads), 0, "nothing is left of them");
        for number in 0..2 {
            upload(number, 2 * MEGABYTE).await.unwrap();
            upload(number, 10).await.unwrap();
        }
    }
}
