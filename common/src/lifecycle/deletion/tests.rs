//! Deletions, cut off at every step.

use std::time::Duration;

use atproto::data::Ipld;
use atproto::syntax::Did;
use chrono::TimeDelta;

use super::{DeletedAccounts, PurgeDeleted, Purged, Steps};
use crate::audit::Actor;
use crate::jobs::{Filter, Job as _, Jobs};
use crate::lifecycle::tests::world::{World, request, world, write};
use crate::lifecycle::{CreatedAccount, StatusChange};
use crate::repo::{PreparedRecord, PreparedWrite, RecordPath, Repos};
use crate::testing::traces::{self, rows_of_account};
use crate::testing::{Fault, assert_repo_is_sound, assert_stream_is_sound, seed};

/// An account with some of everything.
async fn furnish(world: &World, repos: &Repos, name: &str) -> CreatedAccount {
    let account = world.create_account(name).await;
    let (id, did) = (account.id, &account.did);
    for number in 0..12 {
        write(repos, id, did, &format!("r{number}")).await.unwrap();
    }
    let follow = RecordPath { collection: "app.bsky.graph.follow".parse().unwrap(), rkey: "f".parse().unwrap() };
    let value = Ipld::Map([("subject".to_owned(), Ipld::String("did:web:friend.test".to_owned()))].into());
    let record = PreparedRecord::new(&follow, value, Some(false)).unwrap();
    let follow = PreparedWrite::Create { path: follow, record, replace_links: false };
    repos.apply_writes(id, did, vec![follow], None).await.unwrap();
    let blob = seed::blob(&world.db.pool(), did.as_str(), name.as_bytes()).await;
    let picture = RecordPath { collection: "com.example.picture".parse().unwrap(), rkey: "p".parse().unwrap() };
    let reference = [
        ("$type".to_owned(), Ipld::String("blob".to_owned())),
        ("ref".to_owned(), Ipld::Link(blob.into())),
        ("mimeType".to_owned(), Ipld::String("image/png".to_owned())),
        ("size".to_owned(), Ipld::Integer(i128::try_from(name.len()).unwrap())),
    ];
    let value = Ipld::Map([("picture".to_owned(), Ipld::Map(reference.into()))].into());
    let record = PreparedRecord::new(&picture, value, None).unwrap();
    let picture = PreparedWrite::Create { path: picture, record, replace_links: false };
    repos.apply_writes(id, did, vec![picture], None).await.unwrap();
    account
}

fn names(rows: &[(String, i64)]) -> Vec<&str> {
    rows.iter().map(|(table, _)| table.as_str()).collect()
}

#[tokio::test]
async fn a_deleted_account_is_gone_at_once_and_nothing_of_it_is_left() {
    let world = world().await;
    let pool = world.db.pool();
    seed::invite_code(&pool, "twice", 2).await;
    let repos = world.repos();
    let (alice, bob) = (furnish(&world, &repos, "alice").await, furnish(&world, &repos, "bob").await);
    seed::use_invite(&pool, "twice", alice.id).await;
    let before = world.told(&bob.did).await;
    let rows = rows_of_account(&pool, alice.id).await;
    for table in ["record", "mst_node", "backlink", "record_blob", "repo_collection", "repo", "signing_key", "blob"] {
        assert!(names(&rows).contains(&table), "{table}: the test misses its point without");
    }

    let replica = world.replica();
    assert!(replica.delete(&alice.did, None).await.unwrap());
    assert!(!replica.delete(&alice.did, None).await.unwrap(), "once");
    let jobs = Jobs::new(pool.clone()).list_jobs(Filter::default(), 0, 10).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>(), [PurgeDeleted::KIND]);
    // As a worker reads it.
    let _: PurgeDeleted = serde_json::from_value(jobs[0].payload.clone()).unwrap();
    assert_eq!(jobs[0].dedupe_key, PurgeDeleted {}.dedupe_key());
    let services = &replica.0.services;
    assert!(services.accounts.find_by_did(&alice.did).await.unwrap().is_none());
    assert!(repos.find(&alice.did).await.unwrap().is_none());
    assert_eq!(world.told(&alice.did).await.last().unwrap(), "#account deleted");
    for table in ["account", "repo", "signing_key", "refresh_token", "invite_code_use"] {
        assert!(!names(&rows_of_account(&pool, alice.id).await).contains(&table), "{table}");
    }
    // Who comes back finds nothing: no number is given twice.
    let again = world.replica().create_account(request("alice")).await.unwrap();
    assert_ne!(again.id, alice.id);

    assert_stream_is_sound(&pool).await;
    let deleted = DeletedAccounts::new(&pool);
    assert!(deleted.enqueue_purge().await.unwrap());
    let jobs = Jobs::new(pool.clone()).list_jobs(Filter::default(), 0, 10).await.unwrap();
    assert_eq!(jobs.len(), 1, "the one that waits does for it");
    let purged = deleted.purge().await.unwrap();
    assert!(!deleted.enqueue_purge().await.unwrap());
    assert!(purged.rows > 14 && purged.events > 14, "{purged}");
    assert_eq!(deleted.purge().await.unwrap(), Purged::default());
    assert_eq!(rows_of_account(&pool, alice.id).await, []);
    assert_eq!(seed::blob_deletions(&pool).await, 1, "its bytes are to go");
    assert_eq!(world.told(&alice.did).await, ["#account deleted"]);
    assert!(services.accounts.is_usable_invite("twice").await.unwrap(), "one use is left");
    seed::use_invite(&pool, "twice", bob.id).await;
    assert!(!services.accounts.is_usable_invite("twice").await.unwrap(), "and no more than one");

    assert_eq!(world.told(&bob.did).await, before, "others keep what they have");
    assert_repo_is_sound(&pool, bob.id).await;
    assert_repo_is_sound(&pool, again.id).await;
}

/// Whoever adds a table with rows of accounts has to say here how they go: nothing else reminds of it.
#[tokio::test]
async fn every_table_with_rows_of_accounts_is_cleared() {
    /// Emptied by `account_purge_v1`, `event_purge_v1` and `blob::give_up`.
    const PURGED: [&str; 7] =
        ["backlink", "blob", "mst_node", "record", "record_blob", "repo_collection", "repo_event"];
    /// Of the log of deletions itself; of imports and notes of lost references, which end by themselves; of the usage of blobs,
    /// which goes with the last of them.
    const KEPT: [&str; 4] = ["account_deletion", "blob_dereference", "blob_usage", "repo_import"];
    let world = world().await;
    let tables = traces::tables_of_accounts(&world.db.pool()).await;
    assert!(tables.len() > 8, "{tables:?}");
    for (table, cascades) in tables {
        let known = PURGED.contains(&table.as_str()) || KEPT.contains(&table.as_str());
        assert!(cascades != known, "{table}: must refer to account with ON DELETE CASCADE, or be purged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_cut_off_at_any_step_goes_on() {
    for fault in [Fault::BreakBeforeAnswer, Fault::LoseAnswer] {
        let world = world().await;
        let (pool, repos) = (world.db.pool(), world.repos());
        let (alice, bob) = (furnish(&world, &repos, "alice").await, furnish(&world, &repos, "bob").await);
        let carol = furnish(&world, &repos, "carol").await;
        for gone in [&alice.did, &bob.did] {
            assert!(world.replica().delete(gone, None).await.unwrap());
        }
        let tap = world.db.tap().await;
        let deleted = DeletedAccounts { pool: tap.pool(), steps: Steps { rows: 5, events: 7 } };
        let mut cuts = 0;
        loop {
            tap.arm_after(cuts, fault);
            match deleted.purge().await {
                Ok(_) => break,
                Err(_) => cuts += 1,
            }
        }
        assert!(cuts > 4, "{cuts} steps");
        for gone in [&alice, &bob] {
            assert_eq!(rows_of_account(&pool, gone.id).await, []);
            assert_eq!(world.told(&gone.did).await, ["#account deleted"]);
        }
        assert_repo_is_sound(&pool, carol.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_answer_is_lost_is_done_once() {
    for fault in [Fault::BreakBeforeAnswer, Fault::LoseAnswer] {
        let world = world().await;
        let alice = world.create_account("alice").await;
        let tap = world.db.tap().await;
        let replica = world.replica_on(tap.pool());
        tap.arm(fault);
        replica.delete(&alice.did, None).await.unwrap_err();
        // The statement may still run when its connection is gone.
        while world.replica().delete(&alice.did, None).await.unwrap() {}
        let told = world.told(&alice.did).await;
        assert_eq!(told.iter().filter(|event| *event == "#account deleted").count(), 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_purge_at_once_do_it_once() {
    let world = world().await;
    let repos = world.repos();
    let (alice, bob) = (furnish(&world, &repos, "alice").await, furnish(&world, &repos, "bob").await);
    for gone in [&alice.did, &bob.did] {
        assert!(world.replica().delete(gone, None).await.unwrap());
    }
    let workers = (0..4).map(|_| {
        let steps = Steps { rows: 3, events: 5 };
        let deleted = DeletedAccounts { pool: world.db.other_pool(), steps };
        tokio::spawn(async move { deleted.purge().await })
    });
    let mut events = 0;
    for worker in futures_util::future::join_all(workers).await {
        events += worker.unwrap().unwrap().events;
    }
    let told = [world.told(&alice.did).await, world.told(&bob.did).await];
    assert_eq!(told, [["#account deleted"], ["#account deleted"]]);
    // Sign-up tells four events, each of the fourteen writes one.
    assert_eq!(events, 2 * (4 + 14));
}

#[tokio::test]
async fn accounts_go_when_their_time_is_up() {
    let world = world().await;
    let replica = world.replica();
    let now = replica.0.services.clock.now();
    let (hour, week) = (TimeDelta::hours(1), TimeDelta::weeks(1));
    let mut dids: Vec<Did> = Vec::new();
    for (name, delete_after) in
        [("never", None), ("later", Some(now + week)), ("hasty", Some(now - week)), ("due", Some(now - hour))]
    {
        let did = world.create_account(name).await.did;
        replica.deactivate(&did, delete_after).await.unwrap();
        dids.push(did);
    }
    let taken_down = world.create_account("moderated").await.did;
    replica.deactivate(&taken_down, Some(now - hour)).await.unwrap();
    let takedown = StatusChange::TakeDown { reference: None };
    replica.change_status(&Actor::Admin, &taken_down, &takedown).await.unwrap();
    assert_eq!(replica.delete_overdue().await.unwrap(), 0, "nobody on the day they closed");
    for did in [&dids[0], &dids[1], &dids[3], &taken_down] {
        traces::age_deactivation(&world.db.pool(), did, Duration::from_hours(25)).await;
    }
    assert_eq!(replica.delete_overdue().await.unwrap(), 1);
    assert!(replica.0.services.accounts.find_by_did(&dids[3]).await.unwrap().is_none());
    assert_eq!(world.told(&dids[3]).await.last().unwrap(), "#account deleted");
    for did in [&dids[0], &dids[1], &dids[2], &taken_down] {
        assert!(replica.0.services.accounts.find_by_did(did).await.unwrap().is_some());
    }
}
