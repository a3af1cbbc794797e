//! Writes of the same account at two replicas at once.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::client::{Client, Refusal};
use crate::harness::cluster::{Cluster, Replicas};

/// Writers that start together.
const WRITERS: usize = 12;

struct Scene {
    _cluster: Cluster,
    apis: [Client; 2],
    alice: Account,
}

impl Scene {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(Replicas(2)).await?;
        let alice = cluster.create_account("alice.test").await?;
        let apis = [cluster.api(0), cluster.api(1)];
        Ok(Self { _cluster: cluster, apis, alice })
    }

    /// Calls a method at the two replicas in turn, all calls at once.
    async fn call_all(&self, method: &str, input: impl Fn(usize) -> Value) -> Vec<Result<Value>> {
        let method = format!("com.atproto.repo.{method}");
        let calls = (0..WRITERS).map(|n| {
            let (method, input) = (&method, input(n));
            async move { self.apis[n % 2].post(method, Some(&self.alice.token), &input).await }
        });
        join_all(calls).await
    }

    /// The values of a collection, as either replica has them.
    async fn list(&self, collection: &str) -> Result<Vec<Value>> {
        let params = [("repo", self.alice.did.as_str()), ("collection", collection), ("limit", "100")];
        let mut lists = Vec::new();
        for api in &self.apis {
            lists.push(api.get("com.atproto.repo.listRecords", &params).await?);
        }
        ensure!(lists[0] == lists[1], "{} but {}", lists[0], lists[1]);
        Ok(lists[0]["records"].as_array().cloned().unwrap_or_default())
    }
}

/// How often the calls succeeded; all others must have failed with this name.
fn successes(answers: &[Result<Value>], name: &str) -> Result<usize> {
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let refusal = error.downcast_ref::<Refusal>().map(|refusal| refusal.name.as_str());
        ensure!(refusal == Some(name), "{error}");
    }
    Ok(answers.iter().filter(|answer| answer.is_ok()).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_different_records_are_written() -> Result<()> {
    let scene = Scene::start().await?;
    let answers = scene.call_all(
        "createRecord",
        |n| json!({ "repo": scene.alice.did, "collection": "com.example.thing", "record": { "n": n } }),
    );
    let answers = answers.await.into_iter().collect::<Result<Vec<_>>>()?;
    let revs: HashSet<&str> = answers.iter().filter_map(|answer| answer["commit"]["rev"].as_str()).collect();
    ensure!(revs.len() == WRITERS, "each has a commit of its own: {answers:?}");
    let found: HashSet<Option<u64>> =
        scene.list("com.example.thing").await?.iter().map(|record| record["value"]["n"].as_u64()).collect();
    ensure!(found.len() == WRITERS, "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_creates_under_a_key_wins() -> Result<()> {
    let scene = Scene::start().await?;
    let answers = scene.call_all(
        "createRecord",
        |n| json!({ "repo": scene.alice.did, "collection": "com.example.thing", "rkey": "one", "record": { "n": n } }),
    );
    let answers = answers.await;
    ensure!(successes(&answers, "InvalidRequest")? == 1);
    let winner = answers.iter().flatten().map(|answer| &answer["cid"]).next();
    let records = scene.list("com.example.thing").await?;
    ensure!(records.len() == 1 && Some(&records[0]["cid"]) == winner, "{records:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_swaps_of_a_commit_wins() -> Result<()> {
    let scene = Scene::start().await?;
    let first = scene.alice.post(&scene.apis[0], "hi", None).await?["commit"]["cid"].clone();
    let answers = scene.call_all("putRecord", |n| {
        json!({
            "repo": scene.alice.did,
            "collection": "com.example.thing",
            "rkey": n.to_string(),
            "record": {},
            "swapCommit": first,
        })
    });
    ensure!(successes(&answers.await, "InvalidSwap")? == 1);
    ensure!(scene.list("com.example.thing").await?.len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_likes_of_a_post_one_remains() -> Result<()> {
    let scene = Scene::start().await?;
    let post = scene.alice.post(&scene.apis[0], "hi", None).await?;
    let subject = json!({ "uri": post["uri"], "cid": post["cid"] });
    let answers = scene.call_all("createRecord", |_| {
        json!({
            "repo": scene.alice.did,
            "collection": "app.bsky.feed.like",
            "record": { "subject": subject, "createdAt": "2026-01-01T00:00:00.000Z" },
        })
    });
    ensure!(successes(&answers.await, "")? == WRITERS, "each replaces the one before");
    ensure!(scene.list("app.bsky.feed.like").await?.len() == 1);
    Ok(())
}
