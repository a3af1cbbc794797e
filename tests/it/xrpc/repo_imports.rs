//! importRepo at one replica, as the other ones and the stream see it.

use std::collections::BTreeMap;
use std::time::Duration;

use atproto::data;
use atproto::event::Event;
use atproto::syntax::Did;
use bytes::Bytes;
use common::testing::RepoArchive;
use serde_json::{Value, json};

use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::client::Refusal;
use crate::harness::cluster::{Cluster, Replicas};
use crate::harness::consumer::{Consumer, assert_unbroken_chain};

const IMPORT: &str = "com.atproto.repo.importRepo";
const EXPORT: &str = "com.atproto.sync.getRepo";
const RECORDS: usize = 2000;
const LIMIT: Duration = Duration::from_secs(30);

async fn cluster() -> Cluster {
    Cluster::start_with(Replicas(2), |config| config.service.max_repo_import_size = Some(16 << 20)).await.unwrap()
}

/// A repo of likes and posts.
fn foreign(did: &Did) -> RepoArchive {
    let record = |json: Value| data::json::from_json(&json).unwrap();
    let likes = (0..RECORDS / 2).map(|number| {
        let uri = format!("at://did:web:friend.test/app.bsky.feed.post/{number}");
        (
            format!("app.bsky.feed.like/{number:04}"),
            record(json!({ "$type": "app.bsky.feed.like", "subject": { "uri": uri } })),
        )
    });
    let posts = (0..RECORDS / 2).map(|number| {
        let post = json!({ "$type": "app.bsky.feed.post", "text": format!("post {number}") });
        (format!("app.bsky.feed.post/{number:04}"), record(post))
    });
    RepoArchive::new(did, likes.chain(posts))
}

fn cids(archive: &RepoArchive) -> BTreeMap<String, data::Cid> {
    archive.records.iter().map(|(path, (cid, _))| (path.to_string(), *cid)).collect()
}

/// The repo as a replica exports it, verified.
async fn export(cluster: &Cluster, replica: usize, account: &Account) -> archive::Repo {
    let car = cluster.api(replica).get_bytes(EXPORT, &[("did", account.did.as_str())]).await.unwrap();
    archive::verify(&car, &account.did, &account.signing_key(cluster.plc())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_repo_is_there_on_all_replicas_and_on_the_stream() {
    let cluster = cluster().await;
    let alice = cluster.create_account("alice.test").await.unwrap();
    let (here, there) = (cluster.api(0), cluster.api(1));
    for api in [&here, &there] {
        alice.post(api, "before", None).await.unwrap();
    }
    let mut consumer = Consumer::connect(there.origin(), Some(0)).await.unwrap();
    let foreign = foreign(&alice.did);
    here.post_archive(IMPORT, &alice.token, foreign.to_car()).await.unwrap();

    let imported = export(&cluster, 1, &alice).await;
    assert_eq!(imported.records, cids(&foreign));
    assert!(imported.commit.rev > foreign.commit.rev);
    let latest = there.get("com.atproto.sync.getLatestCommit", &[("did", alice.did.as_str())]).await.unwrap();
    assert_eq!(latest, json!({ "cid": imported.head, "rev": imported.commit.rev }));
    let listed = there.get("com.atproto.sync.listRepos", &[]).await.unwrap();
    assert_eq!((&listed["repos"][0]["head"], &listed["repos"][0]["rev"]), (&latest["cid"], &latest["rev"]));

    // A like of what an imported one likes replaces it, like any other.
    let subject = json!({ "uri": "at://did:web:friend.test/app.bsky.feed.post/7", "cid": imported.head });
    let record = json!({ "subject": subject, "createdAt": "2026-01-01T00:00:00.000Z" });
    let like = json!({ "repo": alice.did, "collection": "app.bsky.feed.like", "record": record });
    there.post("com.atproto.repo.createRecord", Some(&alice.token), &like).await.unwrap();
    alice.post(&here, "after", None).await.unwrap();
    let after = export(&cluster, 0, &alice).await;
    assert_eq!(after.records.len(), RECORDS + 1);
    assert!(!after.records.contains_key("app.bsky.feed.like/0007"));

    let newest = cluster.replica(0).ctx().sequencer.newest().await.unwrap();
    let events = consumer.until(newest, LIMIT).await.unwrap();
    assert_unbroken_chain(&events, &alice.did, &alice.signing_key(cluster.plc()));
    let is_import = |event: &Event| matches!(event, Event::Sync(sync) if sync.rev == imported.commit.rev);
    assert_eq!(events.iter().filter(|received| is_import(&received.event)).count(), 1);
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_moves_to_its_own_account_only() {
    let cluster = cluster().await;
    let (alice, bob) =
        (cluster.create_account("alice.test").await.unwrap(), cluster.create_account("bob.test").await.unwrap());
    let (here, there) = (cluster.api(0), cluster.api(1));
    alice.post(&here, "hers", None).await.unwrap();
    let car = there.get_bytes(EXPORT, &[("did", alice.did.as_str())]).await.unwrap();
    let before = export(&cluster, 0, &alice).await;

    let error = here.post_archive(IMPORT, &bob.token, car.clone()).await.unwrap_err();
    let refusal: Refusal = error.downcast().unwrap();
    assert_eq!((refusal.status, &*refusal.name), (400, "InvalidRequest"));
    assert!(refusal.message.contains(alice.did.as_str()), "{refusal}");
    assert!(export(&cluster, 1, &bob).await.records.is_empty());
    bob.post(&there, "his", None).await.unwrap();

    alice.post(&here, "gone again", None).await.unwrap();
    there.post_archive(IMPORT, &alice.token, car).await.unwrap();
    let after = export(&cluster, 0, &alice).await;
    assert_eq!((&after.records, after.commit.data), (&before.records, before.commit.data));
    assert!(after.commit.rev > before.commit.rev);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_repo_or_the_new_one() {
    let cluster = cluster().await;
    let alice = cluster.create_account("alice.test").await.unwrap();
    let archives = [foreign(&alice.did).to_car(), RepoArchive::new(&alice.did, []).to_car()];
    let importing = async {
        for round in 0..6 {
            let archive: Bytes = archives[round % 2].clone();
            cluster.api(round % 2).post_archive(IMPORT, &alice.token, archive).await.unwrap();
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        while seen.len() < 12 {
            let repo = export(&cluster, seen.len() % 2, &alice).await;
            assert!([0, RECORDS].contains(&repo.records.len()), "{} records", repo.records.len());
            seen.push(repo.commit.rev);
        }
        seen
    };
    let ((), seen) = tokio::join!(importing, reading);
    assert!(seen.is_sorted());
}
