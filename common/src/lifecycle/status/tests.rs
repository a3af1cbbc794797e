//! Closing and opening accounts, and what the stream is told.

use atproto::event::Event;
use atproto::syntax::Did;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Notify;

use super::{StatusChange, StatusError};
use crate::account::AccountStatus;
use crate::audit::{Actor, AuditLog, Filter};
use crate::lifecycle::tests::world::{World, world, write};
use crate::lifecycle::{CreatedAccount, Lifecycle};
use crate::repo::{Repos, WriteError};
use crate::session::Opening;
use crate::testing::seed;

async fn change(lifecycle: &Lifecycle, did: &Did, change: &str) -> Result<AccountStatus, StatusError> {
    match change {
        "deactivate" => lifecycle.deactivate(did, None).await,
        "activate" => lifecycle.activate(did).await,
        "take down" => lifecycle.change_status(&Actor::Admin, did, &take_down()).await,
        "restore" => lifecycle.change_status(&Actor::Admin, did, &StatusChange::Restore).await,
        _ => lifecycle.change_status(&Actor::Admin, did, &StatusChange::Announce).await,
    }
}

fn take_down() -> StatusChange {
    StatusChange::TakeDown { reference: Some("case 7".to_owned()) }
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
    change(&replica, &alice.did, "take down").await.unwrap();
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
    change(&replica, &alice.did, "take down").await.unwrap();
    assert_eq!(count().await, 0);
    assert!(sessions.rotate(alice.id, &alice.refresh_token.id).await.unwrap().is_none());
    seed::app_password(&world.db.pool(), alice.id, "phone", false).await;
    sessions.start(alice.id, Opening::AppPassword { name: "phone" }, None).await.unwrap().unwrap();
    change(&replica, &alice.did, "restore").await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn what_others_than_the_owner_change_is_noted_by_the_same_statement() {
    let world = world().await;
    let (alice, replica) = (world.create_account("alice").await, world.replica());
    let log = AuditLog::new(world.db.pool());
    let entries = async || log.list(&Filter::default(), 100).await.unwrap();
    replica.deactivate(&alice.did, None).await.unwrap();
    replica.activate(&alice.did).await.unwrap();
    assert_eq!(entries().await, [], "owners do as they like");

    let moderator = Actor::Service("did:plc:moderator".parse().unwrap());
    let acts = [
        (take_down(), "account.takedown"),
        (StatusChange::Restore, "account.restore"),
        (StatusChange::Deactivate { delete_after: None }, "account.deactivate"),
        (StatusChange::Activate, "account.activate"),
        (StatusChange::Announce, "account.announce"),
    ];
    for (change, action) in &acts {
        replica.change_status(&moderator, &alice.did, change).await.unwrap();
        let entry = entries().await.remove(0);
        assert_eq!((entry.action.as_str(), entry.outcome.as_str()), (*action, "done"));
        assert_eq!((entry.actor.as_str(), entry.subject.as_str()), ("did:plc:moderator", alice.did.as_str()));
        assert_eq!(entry.did.as_deref(), Some(alice.did.as_str()));
    }
    let entries_before = entries().await;
    assert_eq!(entries_before.len(), acts.len());
    let takedown = &entries_before[4];
    let [before, after] = [&takedown.before, &takedown.after].map(|state| state.as_ref().unwrap());
    assert_eq!((&before["takedown"], &after["takedown"]), (&json!(null), &json!("case 7")));
    assert_eq!((&before["handle"], &before["deactivatedAt"]), (&json!("alice.test"), &json!(null)));
    let closing = &entries_before[2];
    assert!(closing.before.as_ref().unwrap()["deactivatedAt"].is_null());
    assert!(closing.after.as_ref().unwrap()["deactivatedAt"].is_string());

    // What changes nothing is no act.
    replica.change_status(&moderator, &alice.did, &take_down()).await.unwrap();
    replica.change_status(&moderator, &alice.did, &StatusChange::Activate).await.unwrap_err();
    let nobody: Did = "did:plc:nobody".parse().unwrap();
    replica.change_status(&moderator, &nobody, &take_down()).await.unwrap_err();
    assert!(!replica.delete(&nobody, Some(&moderator)).await.unwrap());
    assert_eq!(entries().await.len(), acts.len() + 1);

    assert!(replica.delete(&alice.did, Some(&moderator)).await.unwrap());
    let entry = entries().await.remove(0);
    assert_eq!((entry.action.as_str(), entry.did.as_deref()), ("account.delete", Some(alice.did.as_str())));
    assert_eq!((&entry.before.unwrap()["handle"], entry.after), (&json!("alice.test"), None));
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
            "delete" => assert!(lifecycle.delete(&alice.did, None).await.unwrap()),
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
