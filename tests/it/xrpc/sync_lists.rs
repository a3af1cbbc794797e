//! What replicas say of repos together: lists and differences, asked for at one replica while another one writes.

use std::collections::HashMap;

use atproto::car;
use atproto::data::Cid;
use common::testing::seed;
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::client::Client;
use crate::harness::cluster::{Cluster, Replicas};

const COLLECTION: &str = "com.example.note";

async fn call(api: &Client, account: &Account, method: &str, mut input: Value) -> Value {
    input["repo"] = account.did.as_str().into();
    input["collection"] = COLLECTION.into();
    api.post(&format!("com.atproto.repo.{method}"), Some(&account.token), &input).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn repos_enter_and_leave_a_collection_on_all_replicas() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let apis = [cluster.api(0), cluster.api(1)];
    let mut accounts = Vec::new();
    for name in ["alice", "bob", "carol"] {
        accounts.push(cluster.create_account(&format!("{name}.test")).await.unwrap());
    }
    let listed = async |replica: usize| {
        let (mut dids, mut cursor) = (Vec::new(), String::new());
        for page in 0.. {
            let params = [("collection", COLLECTION), ("limit", "1"), ("cursor", &*cursor)];
            // Each page from another replica.
            let api = &apis[(replica + page) % 2];
            let answer = api.get("com.atproto.sync.listReposByCollection", &params).await.unwrap();
            dids.extend(
                answer["repos"].as_array().unwrap().iter().map(|repo| repo["did"].as_str().unwrap().to_owned()),
            );
            let Some(next) = answer["cursor"].as_str() else { break };
            cursor = next.to_owned();
        }
        dids
    };
    let mut expected = Vec::new();
    for (number, account) in accounts.iter().enumerate() {
        call(&apis[number % 2], account, "createRecord", json!({ "rkey": "a", "record": {} })).await;
        expected.push(account.did.to_string());
        assert_eq!([listed(0).await, listed(1).await], [expected.clone(), expected.clone()]);
    }
    // Each replica deletes a record that the other one knows to be there.
    for (number, account) in accounts.iter().enumerate() {
        call(&apis[number % 2], account, "createRecord", json!({ "rkey": "b", "record": {} })).await;
        call(&apis[(number + 1) % 2], account, "deleteRecord", json!({ "rkey": "a" })).await;
        assert_eq!(listed(number % 2).await, expected, "one is left");
        call(&apis[number % 2], account, "deleteRecord", json!({ "rkey": "b" })).await;
        expected.remove(0);
        assert_eq!([listed(0).await, listed(1).await], [expected.clone(), expected.clone()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_missed_until_they_are_there() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let pool = cluster.db().pool();
    let cid = seed::blob(&pool, alice.did.as_str(), b"picture").await;
    let picture = json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "image/png", "size": 7 });
    let show = json!({ "rkey": "a", "record": { "picture": picture } });
    call(&cluster.api(0), &alice, "createRecord", show.clone()).await;

    let did = [("did", alice.did.as_str())];
    let missing = async |replica| {
        let api = cluster.api(replica);
        let listed = api.get("com.atproto.sync.listBlobs", &did).await.unwrap();
        assert_eq!(listed["cids"], json!([cid]), "whether it is there or not");
        let answer = api.get_as(&alice.token, "com.atproto.repo.listMissingBlobs", &[]).await.unwrap();
        answer["blobs"].as_array().unwrap().len()
    };
    assert_eq!([missing(0).await, missing(1).await], [0, 0]);
    seed::lose_blob(&pool, alice.did.as_str(), cid).await;
    assert_eq!([missing(0).await, missing(1).await], [1, 1]);
    let mut again = show;
    again["rkey"] = "b".into();
    again["collection"] = COLLECTION.into();
    again["repo"] = alice.did.as_str().into();
    for replica in 0..2 {
        let api = cluster.api(replica);
        let error = api.post("com.atproto.repo.createRecord", Some(&alice.token), &again).await.unwrap_err();
        assert!(error.to_string().starts_with("400 BlobNotFound: Could not find blob: "), "{error}");
    }

    call(&cluster.api(1), &alice, "deleteRecord", json!({ "rkey": "a" })).await;
    for replica in 0..2 {
        let listed = cluster.api(replica).get("com.atproto.sync.listBlobs", &did).await.unwrap();
        assert_eq!(listed, json!({ "cids": [] }));
    }
}

/// The blocks of an archive.
fn blocks(archive: &[u8]) -> (Cid, HashMap<Cid, bytes::Bytes>) {
    let (root, blocks) = car::read(archive).unwrap();
    (root, blocks.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_kept_up_by_differences_from_either_replica() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let key = alice.signing_key(cluster.plc());
    let write = async |replica: usize, numbers: std::ops::Range<usize>, action: &str| {
        let action = format!("com.atproto.repo.applyWrites#{action}");
        let one =
            |n| json!({ "$type": action, "collection": COLLECTION, "rkey": format!("{n:05}"), "value": { "n": n } });
        let input = json!({ "writes": numbers.map(one).collect::<Vec<_>>() });
        call(&cluster.api(replica), &alice, "applyWrites", input).await
    };
    for start in (0..1000).step_by(200) {
        write(start / 200 % 2, start..start + 200, "create").await;
    }
    let did = alice.did.as_str();
    let whole = cluster.api(0).get_bytes("com.atproto.sync.getRepo", &[("did", did)]).await.unwrap();
    let mut since = archive::verify(&whole, &alice.did, &key).unwrap().commit.rev.to_string();
    let (_, mut copy) = blocks(&whole);
    for round in 0..8 {
        write(round % 2, 1000 + round..1001 + round, "create").await;
        write((round + 1) % 2, round * 100..round * 100 + 3, "delete").await;
        let (here, elsewhere) = (cluster.api(round % 2), cluster.api((round + 1) % 2));
        let params = [("did", did), ("since", &*since)];
        let (root, difference) = blocks(&here.get_bytes("com.atproto.sync.getRepo", &params).await.unwrap());
        assert!(difference.len() < 60, "{} blocks for four writes", difference.len());
        assert!(difference.keys().all(|cid| !copy.contains_key(cid)), "nothing that the copy has");
        copy.extend(difference);

        let whole = elsewhere.get_bytes("com.atproto.sync.getCheckout", &[("did", did)]).await.unwrap();
        let repo = archive::verify(&whole, &alice.did, &key).unwrap();
        let head = elsewhere.get("com.atproto.sync.getHead", &[("did", did)]).await.unwrap();
        assert_eq!((repo.head, json!({ "root": root })), (root, head));
        let (_, whole) = blocks(&whole);
        assert!(whole.iter().all(|(cid, block)| copy.get(cid) == Some(block)), "the copy is whole");
        since = repo.commit.rev.to_string();
    }
}
