//! Closing and opening accounts, and what the stream is told.

use atproto::event::Event;
use atproto::syntax::Did;
use futures_util::future::join_all;
use tokio::sync::Notify;

use super::StatusError;
use crate::account::AccountStatus;
use crate::lifecycle::tests::world::{World, world, write};
use crate::lifecycle::{CreatedAccount, Lifecycle};
use crate::repo::{Repos, WriteError};
use crate::session::Opening;
use crate::testing::seed;

async fn change(lifecycle: &Lifecycle, did: &Did, change: &str) -> Result<AccountStatus, StatusError> {
    match change {
        "deactivate" => lifecycle.deactivate(did, None).await,
        "activate" => lifecycle.activate(did).await,
        "take down" => lifecycle.take_down(did, Some("case 7")).await,
        "restore" => lifecycle.restore(did).await,
        _ => lifecycle.announce_status(did).await,
    }
}

#[tokio::test]
async fn each_change_is_told_and_may_be_repeated() {
    use AccountStatus::{Active, Deactivated, Takendown};
    let world = world().await;
    let alice = world.create_account("alice").await;
    let replicas = [world.replica(), world.replica()];
    let mut told = world.told(&alice.did).await;
    let opened: &[&str] = &["#account active", "#identity alice.test", "#sync"];
    for (turn, (name, status, events)) in [
        ("announce", Active, &["#account active"][..]),
        ("activate", Active, opened),
        ("deactivate", Deactivated, &["#account deactivated"]),
        ("deactivate", Deactivated, &["#account deactivated"]),
        ("announce", Deactivated, &["#account deactivated"]),
        ("take down", Takendown, &["#account takendown"]),
        ("take down", Takendown, &["#account takendown"]),
        ("deactivate", Takendown, &["#account takendown"]),
        ("announce", Takendown, &["#account takendown"]),
        ("restore", Deactivated, &["#account deactivated"]),
        ("restore", Deactivated, &["#account deactivated"]),
        ("activate", Active, opened),
        ("take down", Takendown, &["#account takendown"]),
        ("restore", Active, &["#account active"]),
    ]
    .into_iter()
    .enumerate()
    {
        let found = change(&replicas[turn % 2], &alice.did, name).await.unwrap();
        assert_eq!(found, status, "{turn}: {name}");
        told.extend(events.iter().map(ToString::to_string));
        assert_eq!(world.told(&alice.did).await, told, "{turn}: {name}");
        let account = replicas[0].0.services.accounts.find_by_did(&alice.did).await.unwrap().unwrap();
        assert_eq!(account.status, status, "{turn}: {name}");
    }
}

#[tokio::test]
async fn what_cannot_be_changed_stays_and_is_not_told() {
    let world = world().await;
    let alice = world.create_account("alice").await;
    let replica = world.replica();
    replica.take_down(&alice.did, None).await.unwrap();
    let events = world.events().await.len();
    let opened = replica.activate(&alice.did).await;
    assert!(matches!(opened, Err(StatusError::Takendown)), "{opened:?}");
    let nobody: Did = "did:plc:nobody".parse().unwrap();
    for name in ["announce", "activate", "deactivate", "take down", "restore"] {
        let outcome = change(&replica, &nobody, name).await;
        assert!(matches!(outcome, Err(StatusError::NotFound)), "{name}: {outcome:?}");
    }
    assert_eq!(world.events().await.len(), events);
}

#[tokio::test]
async fn an_opened_account_announces_the_head_it_has() {
    let world = world().await;
    let (alice, repos) = (world.create_account("alice").await, world.repos());
    let commit = write(&repos, alice.id, &alice.did, "a").await.unwrap().unwrap();
    let replica = world.replica();
    replica.deactivate(&alice.did, None).await.unwrap();
    replica.activate(&alice.did).await.unwrap();
    let events = world.events().await;
    let Some(Event::Sync(sync)) = events.last() else { panic!("{events:?}") };
    assert_eq!(sync.rev, commit.rev);
    let key = world.plc.state(&alice.did).unwrap().verification_methods["atproto"].parse().unwrap();
    assert_eq!(sync.verify(Some(&key)).unwrap().to_block().0, commit.cid);
}

#[tokio::test]
async fn moderators_end_sessions_and_owners_do_not() {
    let world = world().await;
    let (alice, replica) = (world.create_account("alice").await, world.replica());
    let sessions = &replica.0.services.sessions;
    let count = async || seed::refresh_tokens(&world.db.pool(), alice.id).await;
    replica.deactivate(&alice.did, None).await.unwrap();
    replica.activate(&alice.did).await.unwrap();
    assert_eq!(count().await, 1);
    replica.take_down(&alice.did, None).await.unwrap();
    assert_eq!(count().await, 0);
    assert!(sessions.rotate(alice.id, &alice.refresh_token.id).await.unwrap().is_none());
    seed::app_password(&world.db.pool(), alice.id, "phone", false).await;
    sessions.start(alice.id, Opening::AppPassword { name: "phone" }).await.unwrap().unwrap();
    replica.restore(&alice.did).await.unwrap();
    assert_eq!(count().await, 0);
}

/// Writes at two replicas until that is refused; gives why.
async fn write_until_refused(repos: &Repos, alice: &CreatedAccount, writer: usize, started: &Notify) -> WriteError {
    for number in 0.. {
        match write(repos, alice.id, &alice.did, &format!("w{writer}-{number}")).await {
            Ok(_) if number == 2 => started.notify_one(),
            Ok(_) | Err(WriteError::Contended) => {}
            Err(error) => return error,
        }
    }
    unreachable!("a write was refused")
}

async fn close_under_fire(world: &World, name: &str, close: &str) -> Vec<WriteError> {
    let alice = world.create_account(name).await;
    let (replicas, lifecycle, started) = ([world.repos(), world.repos()], world.replica(), Notify::new());
    let writers = (0..6).map(|writer| write_until_refused(&replicas[writer % 2], &alice, writer, &started));
    let closing = async {
        started.notified().await;
        match close {
            "delete" => assert!(lifecycle.delete(&alice.did).await.unwrap()),
            other => drop(change(&lifecycle, &alice.did, other).await.unwrap()),
        }
    };
    let (refusals, ()) = tokio::join!(join_all(writers), closing);
    let told = world.told(&alice.did).await;
    let commits = told.iter().filter(|event| *event == "#commit").count();
    assert!(commits > 3, "{commits}");
    assert!(told.last().is_some_and(|event| event.starts_with("#account ")), "{name}: {told:?}");
    refusals
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_commit_is_numbered_behind_the_event_that_forbids_it() {
    let world = world().await;
    for round in ["x", "y", "z"] {
        for refusal in close_under_fire(&world, &format!("alice-{round}"), "deactivate").await {
            assert!(matches!(refusal, WriteError::Deactivated), "{refusal}");
        }
        for refusal in close_under_fire(&world, &format!("bob-{round}"), "take down").await {
            assert!(matches!(refusal, WriteError::Takendown), "{refusal}");
        }
        for refusal in close_under_fire(&world, &format!("carol-{round}"), "delete").await {
            assert!(matches!(refusal, WriteError::RepoNotFound), "{refusal}");
        }
    }
}
