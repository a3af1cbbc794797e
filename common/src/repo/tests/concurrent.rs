//! The commit function itself, called on many connections at once.

use std::collections::{HashMap, HashSet};

use atproto::data::Cid;
use atproto::event::{AccountEvent, AccountStatus, Event};
use atproto::syntax::{Datetime, Did};
use futures_util::future::join_all;
use rand::seq::SliceRandom as _;
use tokio::sync::watch;

use super::planner::{Planner, Sent};
use super::stage::{Stage, cid_at};
use super::store;

use crate::repo::commit::Outcome;
use crate::testing::seed::{self, SeededRepo};
use crate::testing::{assert_repo_is_sound, assert_stream_is_sound};

const REPOS: usize = 6;
const CONNECTIONS: usize = 8;
const ROUNDS: usize = 15;

/// Sends batches of commits to repos chosen at random, in random order, now and then on heads that are out of date, and now
/// and then twice.
async fn send_batches(planner: Planner, repos: Vec<SeededRepo>, connection: usize) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut known = HashMap::new();
    for round in 0..ROUNDS {
        let mut places: Vec<usize> = (0..repos.len()).collect();
        places.shuffle(&mut rand::rng());
        places.truncate(rand::random_range(1..=repos.len()));
        let mut batch = Vec::new();
        let mut in_batch = Vec::new();
        for place in places {
            let stale = rand::random_bool(0.2);
            let head = match known.get(&place) {
                Some(head) if stale => *head,
                _ => planner.head(&repos[place]).await,
            };
            known.insert(place, head);
            let rkey = format!("c{connection}-r{round}");
            if let Some(commit) = planner.creation(&repos[place], head, &rkey).await {
                in_batch.push((place, rkey, commit.expected, commit.head.cid));
                batch.push(commit);
            }
        }
        let times = if rand::random_bool(0.3) { 2 } else { 1 };
        for _ in 0..times {
            let outcomes = planner.send(&batch).await;
            let told = in_batch.iter().zip(outcomes);
            sent.extend(told.map(|((repo, rkey, expected, commit), outcome)| Sent {
                repo: *repo,
                rkey: rkey.clone(),
                expected: *expected,
                commit: *commit,
                outcome,
            }));
        }
    }
    sent
}

/// The commits of a repo, the oldest first, as the log tells.
fn chain(events: &[(i64, Event)], did: &Did) -> Vec<Cid> {
    let commits = events.iter().filter_map(|(_, event)| match event {
        Event::Commit(commit) if commit.repo == *did => Some(commit.commit),
        _ => None,
    });
    commits.collect()
}

/// No call may fail: not by a deadlock either. What was told must be what one call after the other would have told, in the
/// order of the numbers; and what was told to be stored is stored whole, the rest not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_are_told_what_became_of_each_commit() {
    let stage = Stage::with_repos(REPOS).await;
    let pool = stage.db.pool();
    let calls = (0..CONNECTIONS).map(|connection| {
        let planner = Planner::new(pool.clone());
        tokio::spawn(send_batches(planner, stage.repos.clone(), connection))
    });
    let sent: Vec<Sent> = join_all(calls).await.into_iter().flat_map(Result::unwrap).collect();
    stage.assert_sound().await;

    let events = assert_stream_is_sound(&pool).await;
    let chains: Vec<Vec<Cid>> = stage.repos.iter().map(|repo| chain(&events, &repo.did)).collect();
    let mut applied = HashSet::new();
    for sent in &sent {
        let chain = &chains[sent.repo];
        let place = chain.iter().position(|commit| *commit == sent.commit);
        let follows = chain.iter().position(|commit| *commit == sent.expected).map(|place| place + 1);
        match sent.outcome {
            Outcome::Applied => {
                assert!(applied.insert(sent.commit), "applied twice");
                assert_eq!(place, follows, "an applied commit stands on the one it was made for");
            }
            Outcome::AppliedBefore => assert!(place.is_some()),
            // Its own commit may have been the one that moved the head.
            Outcome::HeadMoved => assert!(chain.len() > follows.unwrap(), "nothing came after {}", sent.expected),
            Outcome::Busy => {}
            other => panic!("{other:?}"),
        }
    }
    let replica = stage.replica();
    for sent in &sent {
        let stored = cid_at(&replica, &stage.repos[sent.repo], &sent.rkey).await.is_some();
        assert_eq!(stored, applied.contains(&sent.commit), "{}", sent.rkey);
    }
    let told: usize = chains.iter().map(|chain| chain.len() - 1).sum();
    assert_eq!(applied.len(), told, "each commit of the log was acknowledged once");
}

#[tokio::test]
async fn each_commit_of_a_batch_is_judged_by_itself() {
    let stage = Stage::with_repos(6).await;
    let pool = stage.db.pool();
    let planner = Planner::new(pool.clone());
    let mut batch = Vec::new();
    for repo in &stage.repos {
        batch.push(planner.creation(repo, planner.head(repo).await, "a").await.unwrap());
    }
    let other = planner.creation(&stage.repos[1], planner.head(&stage.repos[1]).await, "b").await.unwrap();
    assert_eq!(planner.send(&[other]).await, [Outcome::Applied]);
    seed::set_deactivated(&pool, stage.repos[2].did.as_str(), true).await;
    seed::set_taken_down(&pool, stage.repos[3].did.as_str(), true).await;
    seed::delete_account(&pool, stage.repos[4].did.as_str()).await;
    let mut conn = pool.acquire().await.unwrap();
    let mut holder = conn.begin().await.unwrap();
    store::lock_repo(&mut holder, stage.repos[5].account).await;

    assert_eq!(
        planner.send(&batch).await,
        [
            Outcome::Applied,
            Outcome::HeadMoved,
            Outcome::Deactivated,
            Outcome::Takendown,
            Outcome::NoRepo,
            Outcome::Busy
        ]
    );
    // Once more, as after a lost answer: what was refused for its moment only goes through now.
    holder.rollback().await.unwrap();
    seed::set_deactivated(&pool, stage.repos[2].did.as_str(), false).await;
    seed::set_taken_down(&pool, stage.repos[3].did.as_str(), false).await;
    assert_eq!(
        planner.send(&batch).await,
        [
            Outcome::AppliedBefore,
            Outcome::HeadMoved,
            Outcome::Applied,
            Outcome::Applied,
            Outcome::NoRepo,
            Outcome::Applied
        ]
    );
    assert_eq!(planner.send(&[]).await, []);
    for place in [0, 1, 2, 3, 5] {
        assert_repo_is_sound(&pool, stage.repos[place].account).await;
    }
}

/// The rule is that whoever takes the right to write away locks the repo first. Then no commit is numbered while it is
/// gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_commit_is_numbered_behind_the_event_that_forbids_it() {
    let stage = Stage::with_repos(1).await;
    let (pool, repo) = (stage.db.pool(), stage.repo());
    let (tries, mut seen) = watch::channel(0);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            tokio::spawn(write_until_nobody_looks(Planner::new(pool.clone()), repo.clone(), writer, tries.clone()))
        })
        .collect();
    for round in 0..20 {
        let away = if round % 4 == 0 { AccountStatus::Deactivated } else { AccountStatus::Takendown };
        let status = if round % 2 == 0 { away } else { AccountStatus::Active };
        let time = Datetime::from_unix_millis(round);
        let event = Event::Account(AccountEvent { did: repo.did.clone(), status, time });
        seed::change_status(&pool, repo.account, &event, status).await;
        // The writers go on trying, in either state.
        let enough = *seen.borrow_and_update() + 10;
        seen.wait_for(|tries| *tries >= enough).await.unwrap();
    }
    drop(seen);
    let applied: usize = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    assert!(applied > 0, "the writers came to their turns");

    let mut active = true;
    for (seq, event) in assert_stream_is_sound(&pool).await {
        match event {
            Event::Account(event) => active = event.status == AccountStatus::Active,
            Event::Commit(_) => assert!(active, "{seq}"),
            _ => {}
        }
    }
    stage.assert_sound().await;
}

/// Gives the number of commits that were applied.
async fn write_until_nobody_looks(
    planner: Planner,
    repo: SeededRepo,
    writer: usize,
    tries: watch::Sender<usize>,
) -> usize {
    let mut applied = 0;
    for round in 0.. {
        if tries.is_closed() {
            break;
        }
        let head = planner.head(&repo).await;
        let Some(commit) = planner.creation(&repo, head, &format!("w{writer}-{round}")).await else { continue };
        applied += planner.send(&[commit]).await.iter().filter(|outcome| **outcome == Outcome::Applied).count();
        tries.send_modify(|tries| *tries += 1);
    }
    applied
}
