//! Changes of handles, and what is left when they are cut off.

use std::time::Duration;

use atproto::syntax::Did;
use futures_util::future::join_all;

use super::{HandleGiver, UpdateHandleError};
use crate::audit::Actor;
use crate::identity::HandleRefusal;
use crate::lifecycle::tests::world::{Site, WebDid, World, request, world};
use crate::lifecycle::{Lifecycle, NewAccount, StatusChange};
use crate::testing::{Fault, traces};

const LONG: Duration = Duration::from_mins(6);

impl World {
    /// The handle that the DID names, and the one that the account has.
    async fn handles(&self, did: &Did) -> (String, String) {
        let named = self.plc.state(did).unwrap().also_known_as[0].trim_start_matches("at://").to_owned();
        let account = self.replica().0.services.accounts.find_by_did(did).await.unwrap().unwrap();
        (named, account.handle.unwrap().into())
    }
}

fn both(handle: &str) -> (String, String) {
    (handle.to_owned(), handle.to_owned())
}

async fn rename(replica: &Lifecycle, did: &Did, handle: &str) -> Result<(), UpdateHandleError> {
    replica.update_handle(did, handle, HandleGiver::Owner).await.map(drop)
}

#[tokio::test]
async fn a_new_handle_is_in_the_did_in_the_account_and_on_the_stream() {
    let world = world().await;
    let (alice, replica) = (world.create_account("alice").await, world.replica());
    let given = replica.update_handle(&alice.did, "Alice-Two.test", HandleGiver::Owner).await.unwrap();
    assert_eq!(given.as_str(), "alice-two.test");
    assert_eq!(world.handles(&alice.did).await, both("alice-two.test"));
    assert_eq!(world.told(&alice.did).await.last().unwrap(), "#identity alice-two.test");
    let document = world.replica().0.services.resolver.find_document(&alice.did).await.unwrap().unwrap();
    assert_eq!(document.handle(), Some(given));
    assert_eq!(traces::unfinished(&world.db.pool()).await, (0, 0));

    // Once more: it is announced again, and the directory is left alone.
    let operations = world.plc.operations(&alice.did).len();
    rename(&replica, &alice.did, "alice-two.test").await.unwrap();
    assert_eq!(world.plc.operations(&alice.did).len(), operations);
    assert_eq!(world.told(&alice.did).await.iter().filter(|event| event.ends_with("alice-two.test")).count(), 2);
    let other = NewAccount { email: Some("other@mail.test".to_owned()), ..request("alice") };
    replica.create_account(other).await.unwrap();
}

#[tokio::test]
async fn each_refusal_changes_nothing() {
    let mut world = world().await;
    let [alice, bob, carol] =
        [world.create_account("alice").await, world.create_account("bob").await, world.create_account("carol").await];
    let owners = [("alice.example.com", alice.did.as_str()), ("bob.example.com", bob.did.as_str())];
    let _name_server = world.with_names(&owners).await;
    // It has no say in whose a handle is.
    let appview = Site::appview(&[("nobody.example.com", &alice.did), ("bob.example.com", &alice.did)]).await;
    world.appview = Some(appview.url());
    let replica = world.replica();
    let takedown = StatusChange::TakeDown { reference: None };
    replica.change_status(&Actor::Admin, &carol.did, &takedown).await.unwrap();
    let events = world.events().await.len();
    let refusal = async |did: &Did, handle: &str| rename(&replica, did, handle).await.unwrap_err();

    for handle in ["al_ice.test", "al.test", "alice.onion"] {
        assert!(matches!(refusal(&alice.did, handle).await, UpdateHandleError::Handle(_)), "{handle}");
    }
    let reserved = refusal(&alice.did, "admin.test").await;
    assert!(matches!(reserved, UpdateHandleError::Handle(HandleRefusal::Reserved)), "{reserved}");
    for handle in ["bob.test", "Bob.test", "carol.test"] {
        let taken = refusal(&alice.did, handle).await;
        assert!(matches!(taken, UpdateHandleError::Taken(_)), "{handle}: {taken}");
    }
    for handle in ["bob.example.com", "nobody.example.com"] {
        let unresolved = refusal(&alice.did, handle).await;
        assert!(matches!(unresolved, UpdateHandleError::Unresolved), "{handle}: {unresolved}");
    }
    for did in [&carol.did, &"did:plc:nobody".parse().unwrap()] {
        assert!(matches!(refusal(did, "new-name.test").await, UpdateHandleError::NotFound), "{did}");
    }
    assert_eq!(world.events().await.len(), events);
    assert_eq!(world.handles(&alice.did).await, both("alice.test"));
    assert_eq!(traces::unfinished(&world.db.pool()).await, (0, 0));

    rename(&replica, &alice.did, "alice.example.com").await.unwrap();
    assert_eq!(world.handles(&alice.did).await, both("alice.example.com"));
    replica.update_handle(&bob.did, "admin.test", HandleGiver::Operator).await.unwrap();
    assert_eq!(world.handles(&bob.did).await, both("admin.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_one_handle_one_gets_it() {
    let world = world().await;
    let mut dids = Vec::new();
    for number in 0..6 {
        dids.push(world.create_account(&format!("user-{number}")).await.did);
    }
    let replicas = [world.replica(), world.replica()];
    let renames = dids.iter().enumerate().map(|(turn, did)| rename(&replicas[turn % 2], did, "wanted.test"));
    let outcomes = join_all(renames).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    for (number, (did, outcome)) in dids.iter().zip(outcomes).enumerate() {
        let expected = match outcome {
            Ok(()) => both("wanted.test"),
            Err(UpdateHandleError::Taken(_)) => both(&format!("user-{number}.test")),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(world.handles(did).await, expected);
    }
    assert_eq!(traces::unfinished(&world.db.pool()).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_and_a_rename_do_not_share_a_handle() {
    let world = world().await;
    for round in 0..4 {
        let (old, wanted) = (format!("user-{round}"), format!("wanted-{round}"));
        let (alice, replicas) = (world.create_account(&old).await, [world.replica(), world.replica()]);
        let handle = format!("{wanted}.test");
        let (renamed, signed_up) =
            tokio::join!(rename(&replicas[0], &alice.did, &handle), replicas[1].create_account(request(&wanted)));
        assert_eq!(usize::from(renamed.is_ok()) + usize::from(signed_up.is_ok()), 1, "{renamed:?} {signed_up:?}");
        let expected = if renamed.is_ok() { handle } else { format!("{old}.test") };
        assert_eq!(world.handles(&alice.did).await, both(&expected));
    }
    assert_eq!(traces::unfinished(&world.db.pool()).await, (0, 0));
}

#[tokio::test]
async fn a_directory_that_fails_changes_nothing_and_keeps_the_handle_free_for_now() {
    let world = world().await;
    let (alice, bob, replica) =
        (world.create_account("alice").await, world.create_account("bob").await, world.replica());
    world.plc.set_down(true);
    let failed = rename(&replica, &alice.did, "wanted.test").await;
    assert!(matches!(failed, Err(UpdateHandleError::Plc(_))), "{failed:?}");
    let kept = rename(&replica, &bob.did, "wanted.test").await;
    assert!(matches!(kept, Err(UpdateHandleError::Taken(_))), "{kept:?}");
    traces::age_unfinished(&world.db.pool(), LONG).await;
    assert_eq!(replica.finish_handle_changes().await.unwrap(), 0, "the directory may have taken it");
    world.plc.set_down(false);
    assert_eq!(replica.finish_handle_changes().await.unwrap(), 1);
    assert_eq!(world.handles(&alice.did).await, both("alice.test"));
    rename(&replica, &bob.did, "wanted.test").await.unwrap();
    rename(&replica, &alice.did, "alice-two.test").await.unwrap();
}

/// Renames while one statement after the other fails, until none does. Each time, a worker comes by later.
async fn rename_with_faults(world: &World, fault: Fault) {
    let (tap, worker) = (world.db.tap().await, world.replica());
    let (alice, replica) = (world.create_account("alice").await, world.replica_on(tap.pool()));
    let mut expected = both("alice.test");
    for cut in 0_u32.. {
        let handle = format!("alice-{cut}.test");
        tap.arm_after(cut.into(), fault);
        let renamed = rename(&replica, &alice.did, &handle).await;
        // A statement whose connection broke may run when this one is done, and leave its note then.
        loop {
            traces::age_unfinished(&world.db.pool(), LONG).await;
            worker.finish_handle_changes().await.unwrap();
            if traces::unfinished(&world.db.pool()).await == (0, 0) {
                break;
            }
        }
        let found = world.handles(&alice.did).await;
        if renamed.is_ok() || found == both(&handle) {
            expected = both(&handle);
        }
        assert_eq!(found, expected, "{fault:?} {cut}: DID and account agree");
        let told = world.told(&alice.did).await;
        let last = told.iter().rfind(|event| event.starts_with("#identity"));
        assert_eq!(last, Some(&format!("#identity {}", expected.1)), "{fault:?} {cut}");
        if renamed.is_ok() && cut > 5 {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_cut_off_at_any_step_ends_well() {
    for fault in [Fault::BreakBeforeAnswer, Fault::LoseAnswer] {
        rename_with_faults(&world().await, fault).await;
    }
}

#[tokio::test]
async fn the_owner_of_a_did_web_writes_its_handle_there_first() {
    let world = world().await;
    let (web, replica) = (WebDid::start().await, world.replica());
    let new = NewAccount { did: Some(web.did.clone()), proven_did: Some(web.did.clone()), ..request("alice") };
    let account = replica.create_account(new).await.unwrap().id;
    let key = replica.0.services.keys.find_signing_key(account, &web.did).await.unwrap().unwrap().public_key();
    web.write("alice.test", &key, "https://pds.test");
    let unnamed = rename(&replica, &web.did, "alice-two.test").await;
    assert!(matches!(unnamed, Err(UpdateHandleError::Unnamed)), "{unnamed:?}");
    assert_eq!(traces::unfinished(&world.db.pool()).await, (0, 0));
    web.write("alice-two.test", &key, "https://pds.test");
    rename(&replica, &web.did, "alice-two.test").await.unwrap();
    let account = replica.0.services.accounts.find_by_did(&web.did).await.unwrap().unwrap();
    assert_eq!(account.shown_handle(), "alice-two.test");
    assert_eq!(world.told(&web.did).await, ["#identity alice-two.test"]);
}
