//! Records, written and read at two replicas in turn.

use anyhow::{Context as _, Result, ensure};
use atproto::data::Cid;
use common::testing::seed;
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};

const COLLECTION: &str = "com.example.thing";

/// Alice, and clients of two replicas; each has written once, so each has her repo's head in memory.
struct Scene {
    cluster: Cluster,
    apis: [Client; 2],
    alice: Account,
}

impl Scene {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(Replicas(2)).await?;
        let alice = cluster.create_account("alice.test").await?;
        let apis = [cluster.api(0), cluster.api(1)];
        for api in &apis {
            alice.post(api, "hi", None).await?;
        }
        Ok(Self { cluster, apis, alice })
    }

    /// Calls a method of `com.atproto.repo` on the record `thing`.
    async fn call(&self, replica: usize, method: &str, fields: Value) -> Result<Value> {
        let mut input = json!({ "repo": self.alice.did, "collection": COLLECTION, "rkey": "thing" });
        if let (Some(input), Value::Object(fields)) = (input.as_object_mut(), fields) {
            input.extend(fields);
        }
        self.apis[replica].post(&format!("com.atproto.repo.{method}"), Some(&self.alice.token), &input).await
    }

    async fn put(&self, replica: usize, n: usize) -> Result<Value> {
        self.call(replica, "putRecord", json!({ "record": { "n": n } })).await
    }

    /// The record's `n`; `None` if there is no record.
    async fn read(&self, replica: usize) -> Result<Option<u64>> {
        let params = [("repo", self.alice.did.as_str()), ("collection", COLLECTION), ("rkey", "thing")];
        match self.apis[replica].get("com.atproto.repo.getRecord", &params).await {
            Ok(record) => Ok(record["value"]["n"].as_u64()),
            Err(error) if name_of(&error) == Some("RecordNotFound") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The repo's newest commit.
    async fn head(&self) -> Result<Cid> {
        let repo = self.cluster.replica(0).ctx().repos.find(&self.alice.did).await?;
        Ok(repo.context("no repo")?.head)
    }
}

fn name_of(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Refusal>().map(|refusal| refusal.name.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_at_one_replica_is_there_at_the_other() -> Result<()> {
    let scene = Scene::start().await?;
    for round in 0..6 {
        let (here, there) = (round % 2, (round + 1) % 2);
        scene.call(here, "createRecord", json!({ "record": { "n": 1 } })).await?;
        ensure!(scene.read(there).await? == Some(1));
        scene.put(there, 2).await?;
        ensure!(scene.read(here).await? == Some(2));
        scene.call(here, "deleteRecord", json!({})).await?;
        ensure!(scene.read(there).await?.is_none());
        ensure!(scene.call(there, "deleteRecord", json!({})).await? == json!({}));
    }
    Ok(())
}

/// The other replica still has an older head in memory, by which a put of the older value looks like no change.
#[tokio::test(flavor = "multi_thread")]
async fn whether_a_put_changes_anything_is_judged_by_the_newest_commit() -> Result<()> {
    let scene = Scene::start().await?;
    scene.put(0, 1).await?;
    scene.put(1, 2).await?;
    let back = scene.put(0, 1).await?;
    ensure!(!back["commit"].is_null(), "the older value is a change: {back}");
    ensure!(scene.read(1).await? == Some(1));
    let again = scene.put(1, 1).await?;
    ensure!(again["commit"].is_null(), "the same value is none: {again}");
    ensure!(again["cid"] == back["cid"]);

    scene.call(0, "deleteRecord", json!({})).await?;
    let created = scene.put(1, 1).await?;
    ensure!(!created["commit"].is_null(), "it was deleted: {created}");
    let deleted = scene.call(0, "deleteRecord", json!({})).await?;
    ensure!(!deleted["commit"].is_null(), "it was created again: {deleted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_are_judged_by_the_newest_commit() -> Result<()> {
    let scene = Scene::start().await?;
    let stale = scene.head().await?;
    let record = scene.put(0, 1).await?["cid"].clone();
    // Replica 1 has the stale head in memory.
    for fields in
        [json!({ "record": { "n": 2 }, "swapCommit": stale }), json!({ "record": { "n": 2 }, "swapRecord": null })]
    {
        let error = scene.call(1, "putRecord", fields).await.unwrap_err();
        ensure!(name_of(&error) == Some("InvalidSwap"), "{error}");
    }
    let newest = scene.head().await?;
    let swaps = json!({ "record": { "n": 2 }, "swapCommit": newest, "swapRecord": record });
    scene.call(1, "putRecord", swaps).await?;
    ensure!(scene.read(0).await? == Some(2));
    let error = scene.call(0, "deleteRecord", json!({ "swapRecord": record })).await.unwrap_err();
    ensure!(name_of(&error) == Some("InvalidSwap"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_changes_nothing_at_any_replica() -> Result<()> {
    let scene = Scene::start().await?;
    scene.put(0, 1).await?;
    let head = scene.head().await?;
    let write = |kind: &str, rkey: &str| {
        json!({
            "$type": format!("com.atproto.repo.applyWrites#{kind}"),
            "collection": COLLECTION,
            "rkey": rkey,
            "value": { "n": 9 },
        })
    };
    for (method, fields) in [
        ("createRecord", json!({ "record": { "n": 2 } })),
        ("createRecord", json!({ "rkey": "other", "record": { "n": 1.5 } })),
        ("putRecord", json!({ "record": { "$type": "com.example.other" } })),
        ("putRecord", json!({ "record": {}, "validate": true })),
        ("deleteRecord", json!({ "swapCommit": Cid::raw(b"") })),
        ("applyWrites", json!({ "writes": [write("create", "other"), write("update", "missing")] })),
        ("applyWrites", json!({ "writes": [write("delete", "thing"), write("delete", "missing")] })),
    ] {
        for replica in 0..2 {
            let error = scene.call(replica, method, fields.clone()).await.unwrap_err();
            let refusal = error.downcast_ref::<Refusal>().map(|refusal| refusal.status);
            ensure!(refusal == Some(400), "{method} {fields}: {error}");
            ensure!(scene.head().await? == head, "{method} {fields}");
        }
    }
    ensure!(scene.read(1).await? == Some(1));
    Ok(())
}

/// Both replicas take the account for active from memory; the statement that writes does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_cannot_write_at_any_replica() -> Result<()> {
    let scene = Scene::start().await?;
    let (pool, did) = (scene.cluster.db().pool(), scene.alice.did.as_str());
    seed::set_deactivated(&pool, did, true).await;
    for replica in 0..2 {
        let error = scene.put(replica, 1).await.unwrap_err();
        ensure!(name_of(&error) == Some("AccountDeactivated"), "{error}");
    }
    seed::set_taken_down(&pool, did, true).await;
    for replica in 0..2 {
        let error = scene.put(replica, 1).await.unwrap_err();
        ensure!(name_of(&error) == Some("AccountTakedown"), "{error}");
    }
    seed::set_taken_down(&pool, did, false).await;
    seed::set_deactivated(&pool, did, false).await;
    scene.put(1, 1).await?;
    ensure!(scene.read(0).await? == Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_list_may_come_from_different_replicas() -> Result<()> {
    let scene = Scene::start().await?;
    let keys: Vec<String> = (10..35).map(|n| n.to_string()).collect();
    for (n, rkey) in keys.iter().enumerate() {
        scene.call(n % 2, "createRecord", json!({ "rkey": rkey, "record": {} })).await?;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for page in 0.. {
        let did = scene.alice.did.as_str();
        let params =
            [("repo", did), ("collection", COLLECTION), ("limit", "7"), ("reverse", "true"), ("cursor", &cursor)];
        let answer = scene.apis[page % 2].get("com.atproto.repo.listRecords", &params).await?;
        let uris = answer["records"].as_array().into_iter().flatten().filter_map(|record| record["uri"].as_str());
        found.extend(uris.filter_map(|uri| uri.rsplit('/').next()).map(str::to_owned));
        match answer["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    ensure!(found == keys, "{found:?}");
    Ok(())
}
