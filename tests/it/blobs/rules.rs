//! What holds for blobs whichever replica is asked and whatever store they are in.

use atproto::data::Cid;
use common::config::{BlobDelivery, BlobQuota};
use common::testing::{FakeS3, redis_config};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::stack::Redis;

use crate::harness::blob_cluster::{BlobCluster, reference};

const IMAGE: &str = "image/png";

/// The errors of uploads of so many different blobs at once, at both replicas in turns.
async fn refusals(scene: &BlobCluster, count: usize) -> Vec<String> {
    let uploads = (0..count).map(async |number| {
        let bytes = format!("picture {number}");
        scene.api(number).upload(&scene.alice.token, IMAGE, bytes).await.err().map(|error| error.to_string())
    });
    join_all(uploads).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_a_quota() {
    let quota = BlobQuota { bytes: None, count: Some(3) };
    for scene in BlobCluster::on_each_store(|config| config.blob.quota = quota).await {
        let refused = refusals(&scene, 8).await;
        assert_eq!(refused.len(), 5);
        assert!(refused.iter().all(|error| error.starts_with("400 BlobQuotaExceeded: ")), "{refused:?}");
        scene.assert_kept(3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_uploads_together_by_account() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), &folder.path().join("log")).await.unwrap();
    let scenes = BlobCluster::on_each_store(|config| {
        config.redis = Some(redis_config(Some(&redis.url())));
        config.rate_limit.enabled = true;
        config.rate_limit.points = [("upload-blob-day".to_owned(), 5)].into();
    });
    for scene in scenes.await {
        let refused = refusals(&scene, 8).await;
        assert_eq!(refused.len(), 3);
        assert!(refused.iter().all(|error| error.starts_with("429 RateLimitExceeded: ")), "{refused:?}");
        let bob = scene.cluster.create_account("bob.test").await.unwrap();
        scene.api(0).upload(&bob.token, IMAGE, "another").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_down_is_nowhere_and_comes_back_everywhere() {
    for scene in BlobCluster::on_each_store(|_| {}).await {
        let (bytes, cid) = (b"picture", Cid::raw(b"picture"));
        scene.api(0).upload(&scene.alice.token, IMAGE, bytes.as_slice()).await.unwrap();
        scene.show(1, "shown", &reference(bytes, IMAGE)).await.unwrap();
        for applied in [true, false] {
            let subject = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": scene.alice.did, "cid": cid });
            let input = json!({ "subject": subject, "takedown": { "applied": applied, "ref": "1" } });
            scene.api(0).post_as_admin("com.atproto.admin.updateSubjectStatus", &input).await.unwrap();
            for number in 0..2 {
                assert_eq!(scene.read(number, cid).await.is_err(), applied);
                let uploaded = scene.api(number).upload(&scene.alice.token, IMAGE, bytes.as_slice()).await;
                assert_eq!(uploaded.is_err(), applied);
                let shown: Option<Value> =
                    scene.show(number, &format!("{applied}-{number}"), &reference(bytes, IMAGE)).await.ok();
                assert_eq!(shown.is_none(), applied);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_send_readers_to_the_bucket() {
    let scene = BlobCluster::start(Some(FakeS3::start().await), |config| {
        config.blob.delivery = BlobDelivery::Presign;
    })
    .await;
    let bytes = b"picture";
    scene.api(0).upload(&scene.alice.token, IMAGE, bytes.as_slice()).await.unwrap();
    scene.show(1, "shown", &reference(bytes, IMAGE)).await.unwrap();
    let cid = Cid::raw(bytes).to_string();
    let params = [("did", scene.alice.did.as_str()), ("cid", cid.as_str())];
    for number in 0..2 {
        let api = scene.api(number);
        let answer = api.ask(Method::GET, "com.atproto.sync.getBlob", &params, ("accept", "*/*")).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!answer.url().as_str().starts_with(api.origin()), "{} is the bucket", answer.url());
        assert_eq!(answer.bytes().await.unwrap(), bytes.as_slice());
    }
}
