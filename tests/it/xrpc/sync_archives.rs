//! Repos as a relay or a user on the move fetches them, while they change elsewhere.

use std::collections::BTreeSet;

use atproto::car;
use atproto::commit::Commit;

use crate::harness::archive;
use crate::harness::cluster::{Cluster, Replicas};

const WRITES: usize = 60;

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
