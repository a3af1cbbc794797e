//! An import replaces a repo at once, whatever others do to it meanwhile, or changes nothing.

use std::time::Duration;

use atproto::data::Ipld;
use atproto::event::Event;
use atproto::syntax::Did;
use bytes::Bytes;
use tokio::time::timeout;

use super::stage::{FOLLOW, Stage, THING, cid_at, create, delete, follow, path, write};
use crate::repo::{CommitRef, ImportError, ImportLeftovers, PreparedWrite, Repos};
use crate::testing::seed::{self, SeededRepo};
use crate::testing::{RepoArchive, assert_stream_is_sound};

const MAX_BYTES: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// Records `r0`, `r1`, … of [`THING`], and a follow.
fn archive(did: &Did, count: usize) -> RepoArchive {
    let text = |text: &str| Ipld::String(text.to_owned());
    let things = (0..count)
        .map(|number| (format!("{THING}/r{number}"), Ipld::Map([("text".to_owned(), text("imported"))].into())));
    let follow = Ipld::Map([("subject".to_owned(), text("did:web:friend.test"))].into());
    RepoArchive::new(did, things.chain([(format!("{FOLLOW}/f"), follow)]))
}

async fn import(repos: &Repos, repo: &SeededRepo, car: &[u8]) -> Result<CommitRef, ImportError> {
    let mut upload = repos.import(repo.account, &repo.did, MAX_BYTES).await?;
    for piece in car.chunks(1000) {
        upload.push(Bytes::copy_from_slice(piece)).await;
    }
    upload.finish().await
}

/// Imports as soon as the import before has been cleaned up.
async fn import_in_time(repos: &Repos, repo: &SeededRepo, car: &[u8]) -> CommitRef {
    let importing = async {
        loop {
            match import(repos, repo, car).await {
                Ok(commit) => return commit,
                Err(ImportError::InProgress) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(LIMIT, importing).await.unwrap()
}

#[tokio::test]
async fn the_archive_and_nothing_else_is_the_repo() {
    let stage = Stage::with_repos(2).await;
    let (ours, theirs) = (stage.replica(), stage.replica());
    let repo = stage.repo();
    for rkey in ["r1", "old"] {
        create(&ours, repo, rkey).await.unwrap();
        create(&theirs, &stage.repos[1], rkey).await.unwrap();
    }
    let old_follow = PreparedWrite::Create {
        path: path(FOLLOW, "old"),
        record: follow("old", "did:web:enemy.test"),
        replace_links: false,
    };
    write(&theirs, repo, &[old_follow]).await.unwrap();
    seed::take_record_down(&stage.db.pool(), repo.did.as_str(), THING, "r1").await;
    let before = theirs.find(&repo.did).await.unwrap().unwrap();

    let archive = archive(&repo.did, 500);
    let commit = import(&ours, repo, &archive.to_car()).await.unwrap();
    assert!(commit.rev > before.rev);
    let after = theirs.find(&repo.did).await.unwrap().unwrap();
    assert_eq!((after.head, after.rev), (commit.cid, commit.rev));
    assert_eq!(cid_at(&theirs, repo, "old").await, None);
    let expected = archive.records[&format!("{THING}/r7").parse().unwrap()].0;
    assert_eq!(cid_at(&theirs, repo, "r7").await, Some(expected));
    let hidden = path(THING, "r1");
    let hidden = theirs.find_record(repo.account, &hidden.collection, &hidden.rkey).await.unwrap().unwrap();
    assert!(hidden.taken_down, "a moderator's mark stays");

    // With what it knew of the head before.
    create(&theirs, repo, "new").await.unwrap().expect("a commit");
    create(&ours, repo, "newer").await.unwrap().expect("a commit");
    stage.assert_sound().await;
    let events = assert_stream_is_sound(&stage.db.pool()).await;
    let syncs = events.iter().filter(|(_, event)| matches!(event, Event::Sync(sync) if sync.rev == commit.rev));
    assert_eq!(syncs.count(), 1);
}

#[tokio::test]
async fn an_import_into_a_closed_account_is_silent() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    seed::set_deactivated(&stage.db.pool(), repo.did.as_str(), true).await;
    let events = assert_stream_is_sound(&stage.db.pool()).await.len();
    let commit = import(&repos, repo, &archive(&repo.did, 3).to_car()).await.unwrap();
    assert_eq!(repos.find(&repo.did).await.unwrap().unwrap().head, commit.cid);
    let log = crate::sequencer::Sequencer::new(&stage.db.pool());
    assert_eq!(log.newest().await.unwrap(), i64::try_from(events).unwrap());
    crate::testing::assert_repo_is_sound(&stage.db.pool(), repo.account).await;
}

#[tokio::test]
async fn the_old_repo_stays_open_until_the_archive_is_complete() {
    let stage = Stage::with_repos(1).await;
    let (ours, theirs) = (stage.replica(), stage.replica());
    let repo = stage.repo();
    let car = archive(&repo.did, 100).to_car();
    let mut upload = ours.import(repo.account, &repo.did, MAX_BYTES).await.unwrap();
    let (first, second) = car.split_at(car.len() / 2);
    upload.push(Bytes::copy_from_slice(first)).await;
    for replica in [&ours, &theirs] {
        create(replica, repo, "x").await.unwrap();
        write(replica, repo, &[delete("x")]).await.unwrap();
    }
    create(&theirs, repo, "x").await.unwrap();
    upload.push(Bytes::copy_from_slice(second)).await;
    upload.finish().await.unwrap();
    assert_eq!(cid_at(&theirs, repo, "x").await, None, "replaced like what was there before");
    stage.assert_sound().await;
}

#[tokio::test]
async fn an_import_ends_while_others_write() {
    let stage = Stage::with_repos(1).await;
    let (ours, theirs) = (stage.replica(), stage.replica());
    let repo = stage.repo();
    let car = archive(&repo.did, 200).to_car();
    let writing = async {
        for number in 0..60 {
            create(&theirs, repo, &format!("w{number}")).await.unwrap();
        }
    };
    let importing = async {
        for _ in 0..5 {
            import_in_time(&ours, repo, &car).await;
        }
    };
    tokio::join!(writing, importing);
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_bad_archive_changes_nothing() {
    let stage = Stage::with_repos(2).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    create(&repos, repo, "kept").await.unwrap();
    let before = repos.find(&repo.did).await.unwrap().unwrap();
    let good = archive(&repo.did, 300).to_car();
    let foreign = archive(&stage.repos[1].did, 300).to_car();
    for (car, expected) in [
        (&good[..good.len() - 1], "Malformed archive: archive ends early"),
        (&foreign[..], &format!("Archive holds the repo of {}", stage.repos[1].did)),
        (b"", "Malformed archive: archive ends early"),
    ] {
        assert_eq!(import(&repos, repo, car).await.unwrap_err().to_string(), expected);
        assert_eq!(repos.find(&repo.did).await.unwrap().unwrap(), before);
        assert_eq!(ImportLeftovers::new(&stage.db.pool()).purge().await.unwrap(), 0, "nothing is left");
    }
    create(&repos, repo, "more").await.unwrap().expect("a commit");
    import(&repos, repo, &good).await.unwrap();
    stage.assert_sound().await;
}

#[tokio::test]
async fn an_account_has_one_import_at_a_time_on_all_replicas() {
    let stage = Stage::with_repos(2).await;
    let (ours, theirs) = (stage.replica(), stage.replica());
    let [repo, other] = [&stage.repos[0], &stage.repos[1]];
    let car = archive(&repo.did, 10).to_car();
    let mut first = ours.import(repo.account, &repo.did, MAX_BYTES).await.unwrap();
    first.push(Bytes::copy_from_slice(&car[..100])).await;
    assert!(matches!(import(&theirs, repo, &car).await, Err(ImportError::InProgress)));
    assert!(matches!(import(&ours, repo, &car).await, Err(ImportError::InProgress)));
    import(&theirs, other, &archive(&other.did, 10).to_car()).await.unwrap();
    // Whoever sent the first goes away.
    drop(first);
    import_in_time(&theirs, repo, &car).await;
    stage.assert_sound().await;
}
