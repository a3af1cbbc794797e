//! Writes of one repo that were stored together must come to what they had come to one by one.

use futures_util::future::join_all;

use super::stage::{FOLLOW, Stage, cid_at, create, creation, delete, follow, path, put, thing, update, write};
use super::store;
use crate::repo::{CommitError, Page, PreparedWrite, Refusal, Repos, SwapRecord, WriteError};
use crate::testing::seed::SeededRepo;

/// Sends the writes behind another one, all before any of them is looked at.
async fn together(
    replica: &Repos,
    repo: &SeededRepo,
    writes: impl IntoIterator<Item = Vec<PreparedWrite>>,
) -> Vec<Result<bool, WriteError>> {
    let first = async { write(replica, repo, &[]).await.map(|commit| commit.is_some()) };
    let rest = writes.into_iter().map(|writes| async move {
        let commit = write(replica, repo, &writes).await?;
        Ok(commit.is_some())
    });
    let (first, rest) = tokio::join!(first, join_all(rest));
    assert!(first.unwrap());
    rest
}

#[tokio::test]
async fn they_share_a_statement_and_have_a_commit_each() {
    let stage = Stage::with_repos(1).await;
    let (replica, repo) = (stage.replica(), stage.repo());
    let before = store::count_appends(&stage.db.pool()).await;
    let outcomes = together(&replica, repo, (0..20).map(|n| vec![creation(&format!("r{n}"), "x")])).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap()));
    assert_eq!(store::count_appends(&stage.db.pool()).await - before, 1);
    assert_eq!(stage.assert_sound().await, 2 + 1 + 20);
}

#[tokio::test]
async fn what_comes_and_goes_between_them_ends_as_if_one_by_one() {
    let stage = Stage::with_repos(1).await;
    let (replica, repo) = (stage.replica(), stage.repo());
    write(&replica, repo, &[creation("old", "1"), creation("gone", "1"), creation("back", "1")]).await.unwrap();
    let outcomes = together(
        &replica,
        repo,
        [
            vec![creation("brief", "x")],
            vec![update("old", "2")],
            vec![delete("gone")],
            vec![delete("back")],
            vec![delete("brief")],
            vec![update("old", "3"), creation("new", "1")],
            vec![creation("back", "2")],
            vec![put("new", "1", SwapRecord::Any)],
            vec![update("new", "2")],
        ],
    )
    .await;
    let commits: Vec<bool> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(commits, [true, true, true, true, true, true, true, false, true]);
    for (rkey, text) in [("old", Some("3")), ("back", Some("2")), ("new", Some("2")), ("gone", None), ("brief", None)] {
        assert_eq!(cid_at(&replica, repo, rkey).await, text.map(|text| thing(rkey, text).cid), "{rkey}");
    }
    assert_eq!(stage.assert_sound().await, 2 + 1 + 1 + 8);
}

#[tokio::test]
async fn each_is_judged_by_those_before_it() {
    let stage = Stage::with_repos(1).await;
    let (replica, repo) = (stage.replica(), stage.repo());
    create(&replica, repo, "a").await.unwrap();
    let swap = || vec![put("a", "swapped", SwapRecord::At(thing("a", "new").cid))];
    let again = || vec![put("a", "other", SwapRecord::At(thing("a", "new").cid))];
    let outcomes = together(
        &replica,
        repo,
        [swap(), again(), vec![delete("b")], vec![creation("b", "x")], vec![creation("b", "y")]],
    )
    .await;
    let [first, second, third, fourth, fifth] = <[_; 5]>::try_from(outcomes).unwrap();
    assert!(first.unwrap());
    let at = thing("a", "swapped").cid;
    assert!(matches!(second, Err(WriteError::Refused(Refusal::RecordSwap(Some(found)))) if found == at));
    assert!(matches!(third, Err(WriteError::Refused(Refusal::Missing(_)))));
    assert!(fourth.unwrap());
    assert!(matches!(fifth, Err(WriteError::Refused(Refusal::Exists(_)))));
    assert_eq!(stage.assert_sound().await, 2 + 1 + 1 + 2);
}

#[tokio::test]
async fn of_links_to_one_target_the_last_one_stays() {
    let stage = Stage::with_repos(1).await;
    let (replica, repo) = (stage.replica(), stage.repo());
    let link = |n: usize| {
        let rkey = format!("f{n}");
        let record = follow(&rkey, "did:plc:bob");
        vec![PreparedWrite::Create { path: path(FOLLOW, &rkey), record, replace_links: true }]
    };
    write(&replica, repo, &link(0)).await.unwrap();
    let outcomes = together(&replica, repo, (1..8).map(link)).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap()));
    let page = Page { limit: 100, cursor: None, reverse: false };
    let left = replica.list_records(repo.account, &FOLLOW.parse().unwrap(), page).await.unwrap();
    assert_eq!(left.iter().map(|record| record.rkey.as_str()).collect::<Vec<_>>(), ["f7"]);
    assert_eq!(stage.assert_sound().await, 2 + 1 + 1 + 7);
}

#[tokio::test]
async fn one_that_postgres_refuses_fails_alone() {
    let stage = Stage::with_repos(1).await;
    store::refuse_records(&stage.db.pool()).await;
    let (replica, repo) = (stage.replica(), stage.repo());
    let outcomes = together(&replica, repo, ["a", "refused", "b"].map(|rkey| vec![creation(rkey, "x")])).await;
    let [before, refused, after] = <[_; 3]>::try_from(outcomes).unwrap();
    assert!(before.unwrap() && after.unwrap());
    assert!(matches!(refused, Err(WriteError::Commit(CommitError::Refused(_)))));
    assert_eq!(stage.assert_sound().await, 2 + 1 + 2);
}

#[tokio::test]
async fn they_are_judged_again_when_another_replica_was_faster() {
    let stage = Stage::with_repos(1).await;
    let (ours, theirs, repo) = (stage.replica(), stage.replica(), stage.repo());
    create(&ours, repo, "warm").await.unwrap();
    create(&theirs, repo, "theirs").await.unwrap();
    let outcomes = together(&ours, repo, [vec![creation("theirs", "x")], vec![creation("ours", "x")]]).await;
    let [late, fine] = <[_; 2]>::try_from(outcomes).unwrap();
    assert!(matches!(late, Err(WriteError::Refused(Refusal::Exists(_)))));
    assert!(fine.unwrap());
    assert_eq!(stage.assert_sound().await, 2 + 2 + 1 + 1);
}

#[tokio::test]
async fn a_link_that_points_elsewhere_by_now_is_not_replaced() {
    let stage = Stage::with_repos(1).await;
    let (replica, repo) = (stage.replica(), stage.repo());
    let follows = |rkey: &str, did| PreparedWrite::Create {
        path: path(FOLLOW, rkey),
        record: follow(rkey, did),
        replace_links: true,
    };
    let (bob, carol) = ("did:web:bob.test", "did:web:carol.test");
    write(&replica, repo, &[follows("moves", bob)]).await.unwrap().expect("a commit");
    let moves = PreparedWrite::Update { path: path(FOLLOW, "moves"), record: follow("moves", carol) };
    for outcome in together(&replica, repo, [vec![moves], vec![follows("new", bob)]]).await {
        assert!(outcome.unwrap());
    }
    for rkey in ["moves", "new"] {
        let path = path(FOLLOW, rkey);
        let found = replica.find_record(repo.account, &path.collection, &path.rkey).await.unwrap();
        assert!(found.is_some(), "{rkey}");
    }
    stage.assert_sound().await;
}
