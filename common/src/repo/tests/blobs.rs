//! What records may refer to, and what is kept of it.

use atproto::data::{BlobRef, Cid, Ipld};
use futures_util::future::join_all;

use super::stage::{Stage, THING, create, delete, path, write};
use super::store;

use crate::blob::{Blobs, Objects};
use crate::config::Config;
use crate::repo::{PreparedRecord, PreparedWrite, Repos, SwapRecord, WriteError};
use crate::testing::seed::{self, SeededRepo};

/// A record of [`THING`] that refers to these blobs.
fn showing(rkey: &str, blobs: &[&[u8]]) -> PreparedWrite {
    let reference = |bytes: &&[u8]| {
        let size = u64::try_from(bytes.len()).unwrap();
        BlobRef { cid: Cid::raw(bytes), mime_type: "image/png".to_owned(), size: Some(size) }.to_ipld()
    };
    let images = Ipld::List(blobs.iter().map(reference).collect());
    let path = path(THING, rkey);
    let record = PreparedRecord::new(&path, Ipld::Map([("images".to_owned(), images)].into()), None).unwrap();
    PreparedWrite::Put { path, record, swap: SwapRecord::Any }
}

async fn upload(stage: &Stage, repo: &SeededRepo, blobs: &[&[u8]]) {
    for blob in blobs {
        seed::blob(&stage.db.pool(), repo.did.as_str(), blob).await;
    }
}

async fn assert_missing(repos: &Repos, repo: &SeededRepo, writes: &[PreparedWrite], missing: &[u8]) {
    match write(repos, repo, writes).await {
        Err(WriteError::BlobNotFound(cid)) => assert_eq!(cid, Cid::raw(missing)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn records_refer_to_blobs_of_their_account_only() {
    let stage = Stage::with_repos(2).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    upload(&stage, repo, &[b"here", b"hidden"]).await;
    upload(&stage, &stage.repos[1], &[b"elsewhere"]).await;
    seed::take_blob_down(&stage.db.pool(), Cid::raw(b"hidden")).await;

    for missing in [&b"nowhere"[..], b"elsewhere", b"hidden"] {
        assert_missing(&repos, repo, &[showing("a", &[b"here", missing])], missing).await;
    }
    assert_missing(&repos, repo, &[showing("a", &[b"here"]), showing("b", &[b"nowhere"])], b"nowhere").await;
    assert_eq!(stage.assert_sound().await, 2 * 2, "nothing was written");

    write(&repos, repo, &[showing("a", &[b"here", b"here"])]).await.unwrap().expect("a commit");
    assert_eq!(stage.assert_sound().await, 2 * 2 + 1);
    assert_eq!(store::blob_state(&stage.db.pool(), repo.account, Cid::raw(b"here")).await, "permanent");
}

#[tokio::test]
async fn references_follow_the_records() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    upload(&stage, repo, &[b"1", b"2", b"3"]).await;
    let blobs = Blobs::new(stage.db.pool(), Objects::from_config(&Config::for_tests().blobstore));
    let referenced = async || {
        stage.assert_sound().await;
        blobs.list_referenced(repo.account, None, None, 10).await.unwrap().len()
    };
    write(&repos, repo, &[showing("a", &[b"1", b"2"]), showing("b", &[b"1"])]).await.unwrap();
    assert_eq!(referenced().await, 2);
    write(&repos, repo, &[showing("a", &[b"2", b"3"])]).await.unwrap();
    assert_eq!(referenced().await, 3);
    write(&repos, repo, &[delete("b"), showing("c", &[b"3"])]).await.unwrap();
    assert_eq!(referenced().await, 2);
    write(&repos, repo, &[showing("a", &[]), delete("c")]).await.unwrap();
    assert_eq!(referenced().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_blob_fails_its_own_commit_only() {
    let stage = Stage::with_repos(12).await;
    let repos = stage.replica();
    let has_blob = |number: usize| !number.is_multiple_of(3);
    for (number, repo) in stage.repos.iter().enumerate().filter(|(number, _)| has_blob(*number)) {
        upload(&stage, repo, &[&[u8::try_from(number).unwrap()]]).await;
    }
    let writes = stage.repos.iter().enumerate().map(|(number, repo)| {
        let repos = repos.clone();
        async move { write(&repos, repo, &[showing("a", &[&[u8::try_from(number).unwrap()]])]).await }
    });
    for (number, outcome) in join_all(writes).await.into_iter().enumerate() {
        assert_eq!(matches!(outcome, Ok(Some(_))), has_blob(number), "{number}: {outcome:?}");
        assert_eq!(matches!(outcome, Err(WriteError::BlobNotFound(_))), !has_blob(number), "{number}: {outcome:?}");
    }
    assert_eq!(stage.assert_sound().await, 12 * 2 + 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_blob_holds_up_nobody_else() {
    let stage = Stage::with_repos(2).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    upload(&stage, repo, &[b"held"]).await;
    let mut conn = stage.db.pool().acquire().await.unwrap();
    let mut holder = conn.begin().await.unwrap();
    store::lock_blob(&mut holder, Cid::raw(b"held")).await;

    let writes = [showing("a", &[b"held"])];
    let waiting = write(&repos, repo, &writes);
    let others = async {
        create(&repos, &stage.repos[1], "a").await.unwrap().expect("a commit");
        holder.rollback().await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, others);
    waited.unwrap().expect("a commit, once the blob was let go");
    stage.assert_sound().await;
}
