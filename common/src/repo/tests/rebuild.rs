//! Whatever is damaged is mended, from the records, and writers and readers go on from there.

use atproto::crypto::SigningKey;
use atproto::data::Cid;
use atproto::event::Event;
use futures_util::future::{join_all, try_join_all};

use super::stage::{FOLLOW, Stage, THING, cid_at, create, delete, write};
use super::verify::{filled, verify, with_blob};
use crate::clock::Clock;
use crate::keys::{KeyVault, Keys, SealingKey};
use crate::repo::{Losses, RebuildError, Rebuilder, Rebuilt, Repos};
use crate::testing::seed::{self, SeededRepo};
use crate::testing::{assert_repo_is_sound, assert_stream_is_sound, damage};

fn rebuilder(stage: &Stage, vault: KeyVault) -> Rebuilder {
    let pool = stage.db.other_pool();
    Rebuilder::new(pool.clone(), Keys::new(pool, vault), Clock::system())
}

async fn rebuild(stage: &Stage, losses: Losses) -> Result<Rebuilt, RebuildError> {
    let seen = verify(stage, stage.repo()).await;
    rebuilder(stage, seed::vault()).rebuild(&seen, losses).await
}

/// Mends the damage, and checks that nobody notices anything of it but a `#sync`.
async fn mend(stage: &Stage, repos: &Repos, losses: Losses) -> Rebuilt {
    let repo = stage.repo();
    assert!(!verify(stage, repo).await.findings.is_empty(), "there is something to mend");
    let before = newest(stage).await;
    let rebuilt = rebuild(stage, losses).await.unwrap();
    assert!(verify(stage, repo).await.findings.is_empty());
    for repo in &stage.repos {
        assert_repo_is_sound(&stage.db.pool(), repo.account).await;
    }
    let events = assert_stream_is_sound(&stage.db.pool()).await;
    assert_eq!(events.len(), before + 1);
    let (seq, Event::Sync(sync)) = &events[before] else { panic!("{:?}", events[before]) };
    assert_eq!((*seq, &sync.did, sync.rev), (rebuilt.seq.unwrap(), &repo.did, rebuilt.commit.rev));
    assert_eq!(sync.verify(Some(&repo.public_key)).unwrap().to_block().0, rebuilt.commit.cid);

    // A replica that knows the repo from before goes on, as does a new one.
    create(repos, repo, "after").await.unwrap().expect("a commit");
    write(&stage.replica(), repo, &[delete("after")]).await.unwrap().expect("a commit");
    stage.assert_sound().await;
    rebuilt
}

/// The number of events. The head may be none of the log's, while it is damaged.
async fn newest(stage: &Stage) -> usize {
    let newest = crate::sequencer::Sequencer::new(&stage.db.pool()).newest().await.unwrap();
    usize::try_from(newest).unwrap()
}

#[tokio::test]
async fn wrong_collections_are_mended() {
    let (stage, repos) = filled().await;
    damage::swap_collections(&stage.db.pool(), stage.repo().account, "com.example.nothing").await;
    mend(&stage, &repos, Losses::Refuse).await;
}

#[tokio::test]
async fn damaged_nodes_are_mended() {
    let (stage, repos) = filled().await;
    let (pool, account) = (stage.db.pool(), stage.repo().account);
    damage::lose_node(&pool, account).await;
    damage::alter_root(&pool, account).await;
    damage::add_node(&pool, account).await;
    let rebuilt = mend(&stage, &repos, Losses::Refuse).await;
    assert_eq!((rebuilt.nodes_written, rebuilt.nodes_deleted, rebuilt.records_dropped), (2, 1, 0));
    assert_eq!((rebuilt.records, rebuilt.links_mended), (305, 0));
}

#[tokio::test]
async fn a_wrong_count_revs_links_and_commits_are_mended() {
    let (stage, repos) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    damage::miscount(&pool, repo.account).await;
    mend(&stage, &repos, Losses::Refuse).await;

    damage::postdate(&pool, repo.account).await;
    mend(&stage, &repos, Losses::Refuse).await;

    damage::turn_links(&pool, repo.account).await;
    damage::add_link(&pool, repo.account, FOLLOW, "f9").await;
    assert_eq!(mend(&stage, &repos, Losses::Refuse).await.links_mended, 6);

    damage::lose_links(&pool, repo.account).await;
    damage::add_link(&pool, repo.account, THING, "001").await;
    assert_eq!(mend(&stage, &repos, Losses::Refuse).await.links_mended, 6);

    damage::forge_commit(&pool, repo, &SigningKey::generate(&mut rand::rng())).await;
    mend(&stage, &repos, Losses::Refuse).await;

    damage::alter_commit(&pool, repo.account).await;
    mend(&stage, &repos, Losses::Refuse).await;
}

#[tokio::test]
async fn records_that_the_tree_does_not_name_are_taken_in() {
    let (stage, repos) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    damage::put_record(&pool, repo.account, (THING, "zzz"), b"\xa0").await;
    assert_eq!(mend(&stage, &repos, Losses::Refuse).await.records, 306);
    assert!(cid_at(&repos, repo, "zzz").await.is_some());
}

#[tokio::test]
async fn references_to_blobs_are_mended() {
    let (stage, repos) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    let (picture, other) = (Cid::raw(b"a picture"), Cid::raw(b"another one"));
    damage::put_record(&pool, repo.account, (THING, "zzz"), &with_blob(picture)).await;
    damage::add_blob(&pool, repo.account, (THING, "001"), other).await;
    damage::add_blob(&pool, repo.account, (THING, "zzz"), other).await;
    assert_eq!(mend(&stage, &repos, Losses::Refuse).await.blobs_mended, 3);
}

#[tokio::test]
async fn losses_are_refused_unless_accepted() {
    let (stage, repos) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    let before = seed::repo_head(&pool, repo.account).await;
    seed::lose_record(&pool, repo.did.as_str(), THING, "001").await;
    damage::alter_record(&pool, repo.account, THING, "002").await;
    damage::alter_record(&pool, repo.account, FOLLOW, "f1").await;
    let error = rebuild(&stage, Losses::Refuse).await.unwrap_err();
    assert!(matches!(&error, RebuildError::Losses(report) if report.findings.losses() == 3), "{error}");
    assert_eq!(seed::repo_head(&pool, repo.account).await, before, "nothing was changed");

    let rebuilt = mend(&stage, &repos, Losses::Accept).await;
    assert_eq!((rebuilt.records, rebuilt.records_dropped, rebuilt.links_mended), (302, 2, 1));
    assert_eq!(cid_at(&repos, repo, "002").await, None);
}

/// What was seen of another head does not count.
#[tokio::test]
async fn losses_are_looked_for_again_if_the_repo_was_written_since() {
    let (stage, repos) = filled().await;
    let seen = verify(&stage, stage.repo()).await;
    create(&repos, stage.repo(), "new").await.unwrap();
    damage::alter_record(&stage.db.pool(), stage.repo().account, THING, "new").await;
    let error = rebuilder(&stage, seed::vault()).rebuild(&seen, Losses::Refuse).await.unwrap_err();
    assert!(matches!(error, RebuildError::Losses(_)), "{error}");
}

#[tokio::test]
async fn a_sound_repo_stays_as_it_is_but_for_the_commit() {
    let (stage, _) = filled().await;
    let first = rebuild(&stage, Losses::Refuse).await.unwrap();
    let second = rebuild(&stage, Losses::Refuse).await.unwrap();
    assert!(second.commit.rev > first.commit.rev);
    assert_eq!((second.nodes_written, second.nodes_deleted, second.links_mended), (0, 0, 0));
    stage.assert_sound().await;
}

#[tokio::test]
async fn a_repo_that_lost_all_records_becomes_empty() {
    let stage = Stage::with_repos(1).await;
    let (repos, repo) = (stage.replica(), stage.repo());
    create(&repos, repo, "a").await.unwrap();
    seed::lose_record(&stage.db.pool(), repo.did.as_str(), THING, "a").await;
    let seen = verify(&stage, repo).await;
    let rebuilt = rebuilder(&stage, seed::vault()).rebuild(&seen, Losses::Accept).await.unwrap();
    assert_eq!((rebuilt.records, rebuilt.nodes_written, rebuilt.nodes_deleted), (0, 1, 1));
    create(&repos, repo, "b").await.unwrap();
    stage.assert_sound().await;
}

#[tokio::test]
async fn without_the_right_key_nothing_is_changed() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    damage::lose_node(&pool, repo.account).await;
    let seen = verify(&stage, repo).await;
    let stranger = KeyVault::new(SealingKey::new(&[9; 32]));
    let error = rebuilder(&stage, stranger).rebuild(&seen, Losses::Refuse).await.unwrap_err();
    assert!(matches!(error, RebuildError::Key(_)), "{error}");
    damage::swap_public_keys(&pool, [repo.account, stage.repos[1].account]).await;
    let seen = verify(&stage, repo).await;
    let error = rebuilder(&stage, seed::vault()).rebuild(&seen, Losses::Refuse).await.unwrap_err();
    assert!(matches!(error, RebuildError::OtherKey), "{error}");
}

/// Readers are told nothing of an inactive account; it is announced when it becomes active again.
#[tokio::test]
async fn an_inactive_account_is_mended_in_silence() {
    let (stage, _) = filled().await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    seed::set_deactivated(&pool, repo.did.as_str(), true).await;
    damage::lose_node(&pool, repo.account).await;
    let before = newest(&stage).await;
    let rebuilt = rebuild(&stage, Losses::Refuse).await.unwrap();
    assert_eq!((rebuilt.seq, rebuilt.nodes_written, newest(&stage).await), (None, 1, before));
    assert_repo_is_sound(&pool, repo.account).await;
}

/// Two replicas write on while the repo is mended again and again.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_to_a_rebuild() {
    const WRITES: usize = 60;
    let (stage, repos) = filled().await;
    let replicas = [repos, stage.replica()];
    let repo: &SeededRepo = stage.repo();
    let writers = replicas.iter().enumerate().map(async |(replica, repos)| {
        for number in 0..WRITES {
            create(repos, repo, &format!("w{replica}-{number}")).await?.expect("a commit");
        }
        Ok::<_, crate::repo::WriteError>(())
    });
    let rebuilds = (0..8).map(async |_| rebuild(&stage, Losses::Refuse).await.unwrap());
    let (written, rebuilt) = tokio::join!(try_join_all(writers), join_all(rebuilds));
    written.unwrap();
    assert_eq!(rebuilt.len(), 8);
    for replica in 0..replicas.len() {
        for number in 0..WRITES {
            assert!(cid_at(&replicas[0], repo, &format!("w{replica}-{number}")).await.is_some());
        }
    }
    assert!(verify(&stage, repo).await.findings.is_empty());
    stage.assert_sound().await;
}
