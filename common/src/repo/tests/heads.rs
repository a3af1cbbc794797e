//! A replica that remembers an old head never says no because of it.

use super::stage::{Stage, cid_at, create, creation, delete, put, remove, thing, update, write};
use crate::repo::{Refusal, SwapRecord, WriteError};

/// A stage, and two replicas of which the first knows the head before the second wrote `theirs`.
macro_rules! overtaken {
    ($stage:ident, $ours:ident, $theirs:ident) => {
        let $stage = Stage::with_repos(1).await;
        let ($ours, $theirs) = ($stage.replica(), $stage.replica());
        create(&$ours, $stage.repo(), "ours").await.unwrap();
        create(&$theirs, $stage.repo(), "theirs").await.unwrap();
    };
}

#[tokio::test]
async fn what_another_replica_created_can_be_updated_and_deleted() {
    overtaken!(stage, ours, theirs);
    write(&ours, stage.repo(), &[update("theirs", "changed")]).await.unwrap().expect("a commit");
    create(&theirs, stage.repo(), "more").await.unwrap();
    write(&ours, stage.repo(), &[delete("more")]).await.unwrap().expect("a commit");
    assert_eq!(cid_at(&ours, stage.repo(), "more").await, None);
    create(&theirs, stage.repo(), "even-more").await.unwrap();
    write(&ours, stage.repo(), &[remove("even-more", SwapRecord::Any)]).await.unwrap().expect("a commit");
    stage.assert_sound().await;
}

#[tokio::test]
async fn what_another_replica_deleted_can_be_created_and_put() {
    overtaken!(stage, ours, theirs);
    write(&theirs, stage.repo(), &[delete("ours")]).await.unwrap();
    write(&ours, stage.repo(), &[creation("ours", "again")]).await.unwrap().expect("a commit");
    create(&ours, stage.repo(), "put").await.unwrap();
    write(&theirs, stage.repo(), &[delete("put")]).await.unwrap();
    // By the old head, this would change nothing.
    write(&ours, stage.repo(), &[put("put", "new", SwapRecord::Any)]).await.unwrap().expect("a commit");
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_swap_is_judged_by_the_newest_commit() {
    overtaken!(stage, ours, theirs);
    let standing = theirs.find(&stage.repo().did).await.unwrap().unwrap();
    let repo = stage.repo();
    let writes = [creation("swapped", "x")];
    ours.apply_writes(repo.account, &repo.did, writes.as_slice(), Some(standing.head))
        .await
        .unwrap()
        .expect("a commit");

    let newest = ours.find(&repo.did).await.unwrap().unwrap().head;
    let error = theirs.apply_writes(repo.account, &repo.did, [creation("late", "x")], Some(standing.head)).await;
    assert!(matches!(error, Err(WriteError::Refused(Refusal::CommitSwap(at))) if at == newest), "{error:?}");

    let cid = thing("theirs", "new").cid;
    create(&theirs, repo, "other").await.unwrap();
    let swap = put("theirs", "swapped", SwapRecord::At(cid));
    write(&ours, repo, &[swap]).await.unwrap().expect("a commit");
    create(&theirs, repo, "absent").await.unwrap();
    let error = write(&ours, repo, &[put("absent", "y", SwapRecord::Absent)]).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused(Refusal::RecordSwap(Some(_)))), "{error}");
    stage.assert_sound().await;
}
