//! What writes come to: the rules of single operations and of lists of them.

use super::stage::{
    FOLLOW, Stage, THING, cid_at, create, creation, delete, follow, path, put, remove, thing, update, write,
};
use crate::repo::{Page, PreparedWrite, Refusal, SwapRecord, WriteError};

fn refusal(error: WriteError) -> Refusal {
    match error {
        WriteError::Refused(refusal) => refusal,
        other => panic!("another error: {other}"),
    }
}

#[tokio::test]
async fn writes_that_change_nothing_make_no_commit() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    create(&repos, repo, "a").await.unwrap();
    let wrong = SwapRecord::At(thing("a", "other").cid);
    for writes in [
        vec![put("a", "new", SwapRecord::Any)],
        vec![put("a", "new", wrong)],
        vec![remove("missing", SwapRecord::Any)],
        vec![remove("missing", wrong)],
        vec![put("a", "new", SwapRecord::Any), remove("missing", SwapRecord::Any)],
        vec![put("b", "new", SwapRecord::Any), delete("b")],
    ] {
        assert_eq!(write(&repos, repo, &writes).await.unwrap(), None, "{writes:?}");
        // Nor are they held against the commit they were made for.
        let swap = Some(thing("a", "no commit").cid);
        assert_eq!(
            repos.apply_writes(repo.account, &repo.did, writes.as_slice(), swap).await.unwrap(),
            None,
            "{writes:?}"
        );
    }
    assert_eq!(stage.assert_sound().await, 2 + 1);
}

#[tokio::test]
async fn an_empty_list_and_one_that_undoes_itself_make_a_commit() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    let empty = write(&repos, repo, &[]).await.unwrap().expect("a commit");
    let undone = write(&repos, repo, &[creation("a", "x"), delete("a")]).await.unwrap().expect("a commit");
    assert!(undone.rev > empty.rev);
    let same = [update("b", "x")];
    write(&repos, repo, &[creation("b", "x")]).await.unwrap();
    write(&repos, repo, &same).await.unwrap().expect("an update to the same value is a commit");
    assert_eq!(stage.assert_sound().await, 2 + 4);
}

#[tokio::test]
async fn several_writes_to_one_path_count_as_their_net_effect() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    write(&repos, repo, &[creation("a", "1"), update("a", "2"), update("a", "3")]).await.unwrap();
    assert_eq!(cid_at(&repos, repo, "a").await, Some(thing("a", "3").cid));
    write(&repos, repo, &[delete("a"), creation("a", "4")]).await.unwrap();
    assert_eq!(cid_at(&repos, repo, "a").await, Some(thing("a", "4").cid));
    assert_eq!(refusal(write(&repos, repo, &[delete("a"), update("a", "5")]).await.unwrap_err()), missing("a"));
    assert_eq!(refusal(write(&repos, repo, &[creation("b", "1"), creation("b", "2")]).await.unwrap_err()), exists("b"));
    assert_eq!(stage.assert_sound().await, 2 + 2);
}

fn missing(rkey: &str) -> Refusal {
    Refusal::Missing(format!("{THING}/{rkey}"))
}

fn exists(rkey: &str) -> Refusal {
    Refusal::Exists(format!("{THING}/{rkey}"))
}

#[tokio::test]
async fn a_commit_has_at_most_two_hundred_writes() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    let writes: Vec<_> = (0..201).map(|number| creation(&format!("r{number}"), "x")).collect();
    assert_eq!(refusal(write(&repos, repo, &writes).await.unwrap_err()), Refusal::TooManyWrites);
    write(&repos, repo, &writes[1..]).await.unwrap().expect("a commit");
    // On a tree of many nodes, and with cold caches.
    let deletions: Vec<_> = (1..201).map(|number| delete(&format!("r{number}"))).collect();
    write(&stage.replica(), repo, &deletions[..150]).await.unwrap().expect("a commit");
    assert_eq!(stage.assert_sound().await, 2 + 2);
    write(&repos, repo, &deletions[150..]).await.unwrap().expect("a commit");
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_commit_has_at_most_two_million_bytes() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    let text = "x".repeat(999_000);
    let writes: Vec<_> = (0..3).map(|number| creation(&format!("r{number}"), &format!("{number}{text}"))).collect();
    assert_eq!(refusal(write(&repos, repo, &writes).await.unwrap_err()), Refusal::TooBig);
    write(&repos, repo, &writes[1..]).await.unwrap().expect("a commit");
    assert_eq!(stage.assert_sound().await, 2 + 1);
}

fn follows(rkey: &str, did: &str) -> PreparedWrite {
    PreparedWrite::Create { path: path(FOLLOW, rkey), record: follow(rkey, did), replace_links: true }
}

#[tokio::test]
async fn more_links_than_a_commit_can_replace_do_not_stop_the_next_one() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    let bob = "did:plc:bob";
    let brought: Vec<_> = (0..150)
        .map(|n| format!("old{n}"))
        .map(|rkey| PreparedWrite::Create {
            path: path(FOLLOW, &rkey),
            record: follow(&rkey, bob),
            replace_links: false,
        })
        .collect();
    write(&repos, repo, &brought).await.unwrap().expect("a commit");
    for (rkey, left) in [("new", 51), ("newer", 1)] {
        write(&repos, repo, &[follows(rkey, bob)]).await.unwrap().expect("a commit");
        let page = Page { limit: 100, cursor: None, reverse: false };
        let records = repos.list_records(repo.account, &path(FOLLOW, "x").collection, page).await.unwrap();
        assert_eq!(records.len(), left);
    }
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_new_link_replaces_those_to_the_same_target() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    let keys = async || {
        let page = Page { limit: 100, cursor: None, reverse: true };
        let records = repos.list_records(repo.account, &path(FOLLOW, "x").collection, page).await.unwrap();
        records.into_iter().map(|record| record.rkey.to_string()).collect::<Vec<_>>()
    };
    let (bob, carol) = ("did:plc:bob", "did:plc:carol");
    for (rkey, did) in [("1", bob), ("2", carol), ("3", bob)] {
        write(&repos, repo, &[follows(rkey, did)]).await.unwrap().expect("a commit");
    }
    assert_eq!(keys().await, ["2", "3"]);
    // Reference: the record at the very same key is replaced, too.
    write(&repos, repo, &[follows("3", bob)]).await.unwrap().expect("a commit");
    // Another target at a key that is taken is no replacement.
    let error = write(&repos, repo, &[follows("3", carol)]).await.unwrap_err();
    assert_eq!(refusal(error), Refusal::Exists(format!("{FOLLOW}/3")));

    // A link that lost its target, or got another, is no longer found by the first.
    let put = |rkey: &str, did| PreparedWrite::Put {
        path: path(FOLLOW, rkey),
        record: follow(rkey, did),
        swap: SwapRecord::Any,
    };
    write(&repos, repo, &[put("3", "nobody")]).await.unwrap().expect("a commit");
    write(&repos, repo, &[put("2", bob)]).await.unwrap().expect("a commit");
    write(&repos, repo, &[follows("4", carol)]).await.unwrap().expect("a commit");
    write(&repos, repo, &[follows("5", bob)]).await.unwrap().expect("a commit");
    assert_eq!(keys().await, ["3", "4", "5"]);
    stage.assert_sound().await;
}
