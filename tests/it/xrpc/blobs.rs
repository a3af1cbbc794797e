//! Blobs in an object store, uploaded at one replica and referred to and read at others.

use atproto::data::{self, Cid};
use common::testing::{FakeS3, RepoArchive};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};

const GET: &str = "com.atproto.sync.getBlob";
const COLLECTION: &str = "com.example.picture";

async fn cluster(s3: &FakeS3) -> Cluster {
    Cluster::start_with(Replicas(2), |config| {
        config.blobstore = s3.config();
        config.service.max_repo_import_size = Some(1 << 20);
    })
    .await
    .unwrap()
}

async fn show(api: &Client, account: &Account, rkey: &str, blob: &Value) {
    let record = json!({ "picture": blob });
    let input = json!({ "repo": account.did, "collection": COLLECTION, "rkey": rkey, "record": record });
    api.post("com.atproto.repo.createRecord", Some(&account.token), &input).await.unwrap();
}

async fn read(api: &Client, account: &Account, cid: Cid) -> Option<Vec<u8>> {
    let cid = cid.to_string();
    match api.get_bytes(GET, &[("did", account.did.as_str()), ("cid", cid.as_str())]).await {
        Ok(bytes) => Some(bytes.to_vec()),
        Err(error) => {
            assert_eq!(error.to_string(), "400 InvalidRequest: Blob not found");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_one_replica_is_a_blob_of_all() {
    let s3 = FakeS3::start().await;
    let cluster = cluster(&s3).await;
    let (alice, bob) =
        (cluster.create_account("alice.test").await.unwrap(), cluster.create_account("bob.test").await.unwrap());
    for (number, size) in [1_000, 2 << 20].into_iter().enumerate() {
        let (here, there) = (cluster.api(number % 2), cluster.api((number + 1) % 2));
        let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
        let cid = Cid::raw(&bytes);
        let picture = here.upload(&alice.token, "application/x-noise", bytes.clone()).await.unwrap();
        assert_eq!([read(&here, &alice, cid).await, read(&there, &alice, cid).await], [None, None]);
        show(&there, &alice, &format!("r{number}"), &picture).await;
        for api in [&here, &there] {
            assert!(read(api, &alice, cid).await.unwrap() == bytes);
            assert!(read(api, &bob, cid).await.is_none(), "it is Alice's");
        }
        there.upload(&bob.token, "application/x-noise", bytes.clone()).await.unwrap();
        show(&here, &bob, "a", &picture).await;
        let delete = json!({ "repo": alice.did, "collection": COLLECTION, "rkey": format!("r{number}") });
        here.post("com.atproto.repo.deleteRecord", Some(&alice.token), &delete).await.unwrap();
        assert!(read(&there, &alice, cid).await.is_none());
        let name = cid.to_string();
        let params = [("did", bob.did.as_str()), ("cid", name.as_str())];
        let slice = there.ask(Method::GET, GET, &params, ("range", "bytes=999-")).await.unwrap();
        assert_eq!(slice.status(), StatusCode::PARTIAL_CONTENT);
        assert!(slice.bytes().await.unwrap() == bytes[999..], "Bob's is untouched");
        let delete = json!({ "repo": bob.did, "collection": COLLECTION, "rkey": "a" });
        here.post("com.atproto.repo.deleteRecord", Some(&bob.token), &delete).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moves_in_brings_the_blobs_after_the_repo() {
    let s3 = FakeS3::start().await;
    let cluster = cluster(&s3).await;
    let alice = cluster.create_account("alice.test").await.unwrap();
    let (here, there) = (cluster.api(0), cluster.api(1));
    let pictures: Vec<Vec<u8>> = (0..3_u8).map(|number| vec![number; 100]).collect();
    let records = pictures.iter().enumerate().map(|(number, bytes)| {
        let link = json!({ "$link": Cid::raw(bytes) });
        // What other servers recognised need not be what this one does.
        let blob = json!({ "$type": "blob", "ref": link, "mimeType": "image/strange", "size": 1 });
        let value = json!({ "$type": COLLECTION, "picture": blob });
        (format!("{COLLECTION}/{number}"), data::json::from_json(&value).unwrap())
    });
    let archive = RepoArchive::new(&alice.did, records).to_car();
    here.post_archive("com.atproto.repo.importRepo", &alice.token, archive).await.unwrap();
    for left in (0..pictures.len()).rev() {
        let missing = there.get_as(&alice.token, "com.atproto.repo.listMissingBlobs", &[("limit", "1")]).await.unwrap();
        let cid: Cid = missing["blobs"][0]["cid"].as_str().unwrap().parse().unwrap();
        assert!(read(&here, &alice, cid).await.is_none());
        let bytes = pictures.iter().find(|bytes| Cid::raw(bytes) == cid).unwrap();
        here.upload(&alice.token, "image/png", bytes.clone()).await.unwrap();
        assert!(read(&there, &alice, cid).await.unwrap() == *bytes, "a record refers to it already");
        let status = there.get_as(&alice.token, "com.atproto.server.checkAccountStatus", &[]).await.unwrap();
        let expected = json!([pictures.len(), pictures.len() - left]);
        assert_eq!(json!([status["expectedBlobs"], status["importedBlobs"]]), expected);
    }
}
