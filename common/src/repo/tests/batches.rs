//! Commits that travel together must not share their misfortunes.

use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::stage::{Stage, cid_at, create, replica};
use super::store;
use crate::repo::{CommitError, WriteError};
use crate::testing::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_postgres_refuses_fails_alone() {
    let stage = Stage::with_repos(20).await;
    store::refuse_records(&stage.db.pool()).await;
    let replica = stage.replica();
    let bad = |number: usize| number % 7 == 3;
    let writes = stage.repos.iter().enumerate().map(|(number, repo)| {
        let replica = replica.clone();
        async move { create(&replica, repo, if bad(number) { "refused" } else { "fine" }).await }
    });
    for (number, outcome) in join_all(writes).await.into_iter().enumerate() {
        match outcome {
            Ok(Some(_)) => assert!(!bad(number), "{number}"),
            Err(WriteError::Commit(CommitError::Refused(_))) => assert!(bad(number), "{number}"),
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(stage.assert_sound().await, 20 * 2 + 17);
    // The next write of a repo that was refused goes through.
    create(&replica, &stage.repos[3], "fine").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_applied_once_and_acknowledged() {
    let stage = Stage::with_repos(1).await;
    let tap = stage.db.tap().await;
    let replica = replica(tap.pool());
    create(&replica, stage.repo(), "warm").await.unwrap();
    for (fault, rkey) in [(Fault::LoseAnswer, "lost"), (Fault::BreakBeforeAnswer, "broken-off")] {
        tap.arm(fault);
        let commit = create(&replica, stage.repo(), rkey).await.unwrap().expect("a commit");
        let standing = replica.find(&stage.repo().did).await.unwrap().unwrap();
        assert_eq!((commit.cid, commit.rev), (standing.head, standing.rev), "{fault:?}");
    }
    assert_eq!(stage.assert_sound().await, 2 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_silent_is_asked_again_long_before_its_statements_would_have_ended() {
    let stage = Stage::with_repos(2).await;
    let tap = stage.db.tap().await;
    let (replica, [silent, other]) = (replica(tap.pool()), [&stage.repos[0], &stage.repos[1]]);
    // What both need to know is read before: the next statement is a batch.
    for repo in [silent, other] {
        create(&replica, repo, "warm").await.unwrap();
    }
    tap.arm(Fault::WithholdAnswer);
    let writes = async { tokio::join!(create(&replica, silent, "withheld"), create(&replica, other, "behind")) };
    // It takes some 4 seconds; without another look it would be the 45 that the batch is waited for.
    let (withheld, behind) = timeout(Duration::from_secs(40), writes).await.expect("answers");
    let standing = replica.find(&silent.did).await.unwrap().unwrap();
    assert_eq!(withheld.unwrap().expect("a commit").cid, standing.head, "applied once, and acknowledged");
    behind.unwrap().expect("a commit");
    assert_eq!(stage.assert_sound().await, 2 * 2 + 4);
}

#[tokio::test]
async fn without_committer_writes_fail_at_once_and_the_replica_says_so() {
    let stage = Stage::with_repos(1).await;
    let pool = stage.db.pool();
    // The committer ends with the runtime that it was started on, as abruptly as by a panic.
    let starting = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { replica(pool) })
    });
    let orphan = starting.join().unwrap();
    orphan.commits_ended().await;
    assert!(!orphan.can_commit());
    for rkey in ["a", "b"] {
        let error = create(&orphan, stage.repo(), rkey).await.unwrap_err();
        assert!(matches!(error, WriteError::Commit(CommitError::Unavailable)), "{error}");
    }
    let replica = stage.replica();
    assert!(replica.can_commit());
    create(&replica, stage.repo(), "a").await.unwrap();
    assert_eq!(stage.assert_sound().await, 2 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_the_connection_is_asked_again() {
    let stage = Stage::with_repos(1).await;
    store::break_connections(&stage.db.pool(), 2).await;
    let replica = stage.replica();
    create(&replica, stage.repo(), "broken").await.unwrap().expect("a commit");
    assert!(cid_at(&replica, stage.repo(), "broken").await.is_some());
    assert_eq!(stage.assert_sound().await, 2 + 1);
}
