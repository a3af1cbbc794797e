//! Two replicas, each with its own pool and caches, at work on the same repos at once.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::stage::{Stage, cid_at, create, creation, write};
use super::store;
use crate::repo::{Repos, WriteError};
use crate::testing::seed::SeededRepo;

/// Creates `count` records one after the other; every one must be acknowledged with a commit.
async fn create_many(replica: Repos, repo: SeededRepo, writer: usize, count: usize) {
    for number in 0..count {
        let rkey = format!("w{writer}-{number}");
        let commit = create(&replica, &repo, &rkey).await.unwrap();
        assert!(commit.is_some(), "{rkey}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_writes_to_one_repo_are_kept_in_one_chain() {
    let stage = Stage::with_repos(1).await;
    let replicas = [stage.replica(), stage.replica()];
    let writers =
        (0..8).map(|writer| tokio::spawn(create_many(replicas[writer % 2].clone(), stage.repo().clone(), writer, 15)));
    for outcome in join_all(writers).await {
        outcome.unwrap();
    }
    // What sign-up tells, and one event for each write.
    assert_eq!(stage.assert_sound().await, 2 + 120);
    for writer in 0..8 {
        for number in 0..15 {
            assert!(cid_at(&replicas[0], stage.repo(), &format!("w{writer}-{number}")).await.is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_repos_share_transactions_and_stay_apart() {
    let stage = Stage::with_repos(40).await;
    let replicas = [stage.replica(), stage.replica()];
    let before = store::count_appends(&stage.db.pool()).await;
    let writers = stage.repos.iter().enumerate().flat_map(|(number, repo)| {
        let (replicas, repo) = (&replicas, repo.clone());
        (0..2).map(move |side| tokio::spawn(create_many(replicas[side].clone(), repo.clone(), number * 2 + side, 5)))
    });
    for outcome in join_all(writers).await {
        outcome.unwrap();
    }
    assert_eq!(stage.assert_sound().await, 40 * (2 + 10));
    let batches = store::count_appends(&stage.db.pool()).await - before;
    assert!(batches < 300, "400 commits came in {batches} transactions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_goes_away_neither_harms_the_repo_nor_holds_it() {
    let stage = Stage::with_repos(1).await;
    let replica = stage.replica();
    for number in 0..40 {
        let writes = [creation(&format!("abandoned-{number}"), "x")];
        let writing = write(&replica, stage.repo(), &writes);
        let _ = timeout(Duration::from_micros(number * 150), writing).await;
    }
    create(&replica, stage.repo(), "after").await.unwrap();
    stage.assert_sound().await;
}

#[tokio::test]
async fn of_two_that_create_the_same_record_one_is_told_that_it_exists() {
    let stage = Stage::with_repos(1).await;
    let replicas = [stage.replica(), stage.replica()];
    for number in 0..10 {
        let rkey = format!("same-{number}");
        let outcomes =
            tokio::join!(create(&replicas[0], stage.repo(), &rkey), create(&replicas[1], stage.repo(), &rkey));
        let outcomes = [outcomes.0, outcomes.1];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(
            outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|e| matches!(e, WriteError::Refused(_)))
        );
    }
    stage.assert_sound().await;
}
