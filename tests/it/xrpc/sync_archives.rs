//! Repos as a relay or a user on the move fetches them, while they change elsewhere.

use std::collections::BTreeSet;

use atproto::car;
use atproto::commit::Commit;
use common::testing::seed;
use reqwest::Method;

use crate::harness::archive;
use crate::harness::client::Refusal;
use crate::harness::cluster::{Cluster, Replicas};

const WRITES: usize = 60;
const POST: &str = "app.bsky.feed.post";

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_whole_while_another_replica_writes() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let key = alice.signing_key(cluster.plc());
    let (here, elsewhere) = (cluster.api(0), cluster.api(1));
    let params = [("did", alice.did.as_str())];
    let export = async || {
        let archive = here.get_bytes("com.atproto.sync.getRepo", &params).await.unwrap();
        archive::verify(&archive, &alice.did, &key).unwrap()
    };

    let writing = async {
        let mut paths = BTreeSet::new();
        for _ in 0..WRITES {
            let written = alice.post(&elsewhere, "hi", None).await.unwrap();
            let path = written["uri"].as_str().unwrap().strip_prefix(&format!("at://{}/", alice.did)).unwrap();
            paths.insert(path.to_owned());
        }
        paths
    };
    let reading = async {
        let mut before = export().await;
        while before.records.len() < WRITES {
            let now = export().await;
            assert!(now.commit.rev >= before.commit.rev, "a repo never goes back");
            assert!(before.records.iter().all(|(path, cid)| now.records.get(path) == Some(cid)));
            before = now;
        }
        before
    };
    let (paths, last) = tokio::join!(writing, reading);
    assert_eq!(last.records.into_keys().collect::<BTreeSet<_>>(), paths);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_says_where_a_repo_stands() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let params = [("did", alice.did.as_str())];
    for number in 0..6 {
        let written = alice.post(&cluster.api(number % 2), "hi", None).await.unwrap();
        let (cid, rev) = (&written["commit"]["cid"], &written["commit"]["rev"]);
        for replica in 0..2 {
            let api = cluster.api(replica);
            let latest = api.get("com.atproto.sync.getLatestCommit", &params).await.unwrap();
            assert_eq!(latest, written["commit"]);
            assert_eq!(api.get("com.atproto.sync.getRepoStatus", &params).await.unwrap()["rev"], *rev);
            let listed = api.get("com.atproto.sync.listRepos", &[]).await.unwrap();
            assert_eq!((&listed["repos"][0]["head"], &listed["repos"][0]["rev"]), (cid, rev));
            let params = [params[0], ("cids", cid.as_str().unwrap())];
            let archive = api.get_bytes("com.atproto.sync.getBlocks", &params).await.unwrap();
            let (root, blocks) = car::read(&archive).unwrap();
            assert_eq!(*cid, root.to_string());
            assert_eq!(Commit::decode(&blocks[0].1).unwrap().did, alice.did);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_replica_compresses_an_archive_or_sends_its_headers_only() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    for number in 0..10 {
        alice.post(&cluster.api(number % 2), "hi", None).await.unwrap();
    }
    let params = [("did", alice.did.as_str())];
    let mut packed = Vec::new();
    for replica in 0..2 {
        let api = cluster.api(replica);
        let ask = async |verb, encoding| {
            let accept = ("accept-encoding", encoding);
            let answer = api.ask(verb, "com.atproto.sync.getRepo", &params, accept).await.unwrap();
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let (status, kind) = (answer.status().as_u16(), header("content-type").unwrap());
            assert_eq!((status, kind.as_str()), (200, "application/vnd.ipld.car"));
            let encoding = header("content-encoding");
            (encoding, answer.bytes().await.unwrap())
        };
        let (encoding, plain) = ask(Method::GET, "identity").await;
        assert_eq!(encoding, None);
        archive::verify(&plain, &alice.did, &alice.signing_key(cluster.plc())).unwrap();
        let (encoding, gzip) = ask(Method::GET, "gzip").await;
        assert_eq!((encoding.as_deref(), &gzip[..2]), (Some("gzip"), &[0x1f, 0x8b][..]));
        assert!(gzip.len() < plain.len());
        let (_, nothing) = ask(Method::HEAD, "identity").await;
        assert!(nothing.is_empty());
        packed.push((plain, gzip));
    }
    assert!(packed[0] == packed[1], "all replicas send the same bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_taken_down_is_hidden_at_every_replica_but_stays_in_the_repo() {
    let cluster = Cluster::start(Replicas(2)).await.unwrap();
    let alice = cluster.create_account("alice.test").await.unwrap();
    let mut rkeys = Vec::new();
    for number in 0..4 {
        let written = alice.post(&cluster.api(number % 2), "hi", None).await.unwrap();
        rkeys.push(written["uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
    }
    seed::take_record_down(&cluster.db().pool(), alice.did.as_str(), POST, &rkeys[1]).await;
    let key = alice.signing_key(cluster.plc());
    for replica in 0..2 {
        let api = cluster.api(replica);
        let (repo, collection) = (("repo", alice.did.as_str()), ("collection", POST));
        for (number, rkey) in rkeys.iter().enumerate() {
            let found = api.get("com.atproto.repo.getRecord", &[repo, collection, ("rkey", rkey)]).await;
            let refusal = found.err().map(|error| error.downcast::<Refusal>().unwrap().name);
            assert_eq!(refusal.as_deref(), (number == 1).then_some("RecordNotFound"));
        }
        let listed = api.get("com.atproto.repo.listRecords", &[repo, collection]).await.unwrap();
        assert_eq!(listed["records"].as_array().unwrap().len(), 3);
        let archive = api.get_bytes("com.atproto.sync.getRepo", &[("did", alice.did.as_str())]).await.unwrap();
        assert_eq!(archive::verify(&archive, &alice.did, &key).unwrap().records.len(), 4);
    }
}
