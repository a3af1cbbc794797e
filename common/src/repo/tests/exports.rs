//! Exports of repos that are being written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atproto::car;
use atproto::commit::Commit;
use atproto::data::Cid;
use atproto::event::Event;
use atproto::mst::{Node, Step, Walker};
use tokio::sync::watch;

use super::stage::{Stage, creation, delete, put, write};
use crate::repo::{Repos, SwapRecord};
use crate::testing::assert_stream_is_sound;
use crate::testing::seed::SeededRepo;

/// Creates, changes and deletes records for as long as somebody looks on.
async fn write_until_nobody_looks(replica: Repos, repo: SeededRepo, commits: watch::Sender<usize>) {
    for round in 0_usize.. {
        if commits.is_closed() {
            return;
        }
        let old = (round * 7) % 150;
        let writes = [
            creation(&format!("new-{round}"), "x"),
            put(&format!("old-{old}"), &format!("{round}"), SwapRecord::Any),
            if round == 0 { put("first", "x", SwapRecord::Any) } else { delete(&format!("new-{}", round - 1)) },
        ];
        write(&replica, &repo, &writes).await.unwrap().expect("a commit");
        commits.send_modify(|commits| *commits += 1);
    }
}

/// Checks that an archive is the whole tree of one commit with all its records, and gives the commit.
async fn check(replica: &Repos, repo: &SeededRepo) -> Cid {
    let mut archive = replica.export(repo.account, None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = archive.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    let (head, blocks) = car::read(&bytes).unwrap();
    let blocks: HashMap<_, _> = blocks.into_iter().collect();
    let commit = Commit::decode(&blocks[&head]).unwrap();
    commit.verify(&repo.public_key).unwrap();
    let nodes: HashMap<Cid, Arc<Node>> =
        blocks.iter().filter_map(|(cid, block)| Some((*cid, Arc::new(Node::decode(block).ok()?)))).collect();
    let mut walker = Walker::new(commit.data);
    let mut records = 0;
    while let Some(step) = walker.next(&nodes).unwrap() {
        let Step::Entry(entry) = step else { continue };
        assert!(blocks.contains_key(&entry.value), "{} is missing", entry.key);
        records += 1;
    }
    assert!(records >= 150, "{records} records");
    head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_export_is_one_commit_whatever_is_written_meanwhile() {
    let stage = Stage::with_repos(1).await;
    let (replica, repo) = (stage.replica(), stage.repo());
    let fill: Vec<_> = (0..150).map(|number| creation(&format!("old-{number}"), "x")).collect();
    write(&replica, repo, &fill).await.unwrap().expect("a commit");
    let (commits, mut seen) = watch::channel(0);
    let writer = tokio::spawn(write_until_nobody_looks(stage.replica(), repo.clone(), commits));
    let mut exported = HashSet::new();
    for _ in 0..12 {
        let next = *seen.borrow_and_update() + 1;
        seen.wait_for(|commits| *commits >= next).await.unwrap();
        let (one, other) = tokio::join!(check(&replica, repo), check(&replica, repo));
        exported.extend([one, other]);
    }
    drop(seen);
    writer.await.unwrap();
    let events = assert_stream_is_sound(&stage.db.pool()).await;
    let told: HashSet<Cid> = events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Commit(commit) => Some(commit.commit),
            _ => None,
        })
        .collect();
    assert!(exported.is_subset(&told), "every export is a commit of the log");
    assert!(exported.len() >= 12, "each export came after another commit");
}
