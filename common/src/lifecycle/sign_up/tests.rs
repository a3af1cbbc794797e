//! Sign-up against a real database and a PLC directory in this process.

use std::time::Duration;

use atproto::commit::Commit;
use atproto::crypto::SigningKey;
use atproto::event::{AccountStatus, Event};
use atproto::syntax::Did;
use futures_util::future::join_all;
use serde_json::json;

use super::Draft;
use crate::account::AccountStatus as Status;
use crate::audit::{Actor, AuditLog, Filter};
use crate::config::{Config, PlcRotationKey};
use crate::lifecycle::tests::world::{WebDid, World, request, world};
use crate::lifecycle::{CreateAccountError, Lifecycle, NewAccount, Policy, PolicyError};
use crate::testing::{Fault, seed, traces};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_sign_up_makes_an_account_a_did_a_key_and_a_repo() {
    let world = world().await;
    let replica = world.replica();
    let services = &replica.0.services;
    let created = replica.create_account(request("Alice")).await.unwrap();
    assert_eq!(created.handle.as_str(), "alice.test");

    let account = services.accounts.find_by_login("alice@mail.test", "correct horse".into()).await.unwrap().unwrap();
    assert_eq!((account.id, &account.did), (created.id, &created.did));

    let key = services.keys.find_signing_key(created.id, &created.did).await.unwrap().unwrap();
    let document = created.document.unwrap();
    assert_eq!(document.signing_key(), Some(key.public_key()));
    assert_eq!(document.handle(), Some(created.handle));
    assert_eq!(document.pds_endpoint(), Some(world.config.public_url().as_str()));
    let rotation_key = replica.0.policy.rotation_key.public_key().await.unwrap();
    assert_eq!(world.plc.state(&created.did).unwrap().rotation_keys, [rotation_key.to_string()]);

    assert!(services.sessions.rotate(created.id, &created.refresh_token.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sign_up_is_announced_in_order() {
    let world = world().await;
    let created = world.replica().create_account(request("alice")).await.unwrap();
    let events = world.events().await;
    assert!(events.iter().all(|event| *event.did() == created.did));
    let [Event::Identity(identity), Event::Account(account), Event::Commit(commit), Event::Sync(sync)] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(identity.handle, Some(created.handle));
    assert_eq!(account.status, AccountStatus::Active);
    assert_eq!((commit.rev, commit.since, commit.prev_data), (sync.rev, None, None));
    let document = created.document.unwrap();
    let head = seed::repo_head(&world.db.pool(), created.id).await;
    let stored = Commit::decode(&head).unwrap();
    stored.verify(&document.signing_key().unwrap()).unwrap();
    assert_eq!(stored.to_block().0, commit.commit);
}

#[tokio::test]
async fn rotation_keys_are_ranked_and_never_repeated() {
    let mut world = world().await;
    let [operator, user] = [1, 2].map(|_| SigningKey::generate(&mut rand::rng()).public_key().to_string());
    world.config.identity.recovery_did_key = Some(operator.clone());
    let replica = world.replica();
    let server = replica.0.policy.rotation_key.public_key().await.unwrap().to_string();
    for (name, recovery_key, expected) in [
        ("alice", None, vec![&operator, &server]),
        ("bob", Some(&user), vec![&user, &operator, &server]),
        ("carol", Some(&server), vec![&server, &operator]),
    ] {
        let new = NewAccount { recovery_key: recovery_key.cloned(), ..request(name) };
        let did = replica.create_account(new).await.unwrap().did;
        assert_eq!(world.plc.state(&did).unwrap().rotation_keys.iter().collect::<Vec<_>>(), expected, "{name}");
    }
}

#[tokio::test]
async fn the_first_thing_wrong_is_told() {
    let mut world = world().await;
    world.config.invites.required = true;
    let pool = world.db.pool();
    seed::account(&pool, "taken.test").await;
    seed::account(&pool, "closed.test").await;
    seed::set_deactivated(&pool, &seed::did_of("closed.test"), true).await;
    seed::invite_code(&pool, "good", 5).await;
    let replica = world.replica();
    // Everything is wrong at first; each line mends what the one before complains of.
    let mut new = NewAccount {
        handle: "al_ice.test".to_owned(),
        password: Some("x".repeat(257).into()),
        recovery_key: Some("did:key:zzz".to_owned()),
        did: Some("did:plc:alice".parse().unwrap()),
        ..NewAccount::default()
    };
    let refusal = async |new: &NewAccount| replica.create_account(new.clone()).await.unwrap_err().to_string();
    assert_eq!(refusal(&new).await, "Password too long. Maximum length is 256 characters.");
    new.password = Some("ä".repeat(256).into());
    assert_eq!(refusal(&new).await, "No invite code provided");
    new.invite_code = Some("bad".to_owned());
    assert_eq!(refusal(&new).await, "Email is required");
    new.email = Some("alice".to_owned());
    assert_eq!(refusal(&new).await, "This email address is not supported, please use a different email.");
    new.email = Some("taken@mail.test".to_owned());
    assert!(refusal(&new).await.starts_with("Input handle must be a valid handle"));
    new.handle = "admin.test".to_owned();
    assert_eq!(refusal(&new).await, "Reserved handle");
    new.handle = "taken.test".to_owned();
    assert_eq!(refusal(&new).await, "Provided invite code not available");
    new.invite_code = Some("good".to_owned());
    assert_eq!(refusal(&new).await, "Handle already taken: taken.test");
    new.handle = "Closed.test".to_owned();
    assert_eq!(refusal(&new).await, "Handle already taken: closed.test");
    new.handle = "alice.test".to_owned();
    assert_eq!(refusal(&new).await, "Email already taken: taken@mail.test");
    new.email = Some("Alice@mail.test".to_owned());
    assert_eq!(refusal(&new).await, "Missing auth to create account with did: did:plc:alice");
    new.did = None;
    assert_eq!(refusal(&new).await, "The recovery key must be a did:key of a secp256k1 or P-256 key");
    assert!(world.plc.dids().is_empty(), "no DID was made in vain");
    new.recovery_key = None;
    replica.create_account(new).await.unwrap();
}

#[tokio::test]
async fn elsewhere_names_need_a_did_of_their_own() {
    let world = world().await;
    let new = NewAccount { handle: "alice.example.com".to_owned(), ..request("alice") };
    let error = world.replica().create_account(new).await.unwrap_err();
    assert!(matches!(error, CreateAccountError::Handle(crate::identity::HandleRefusal::UnsupportedDomain)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_sign_ups_for_one_handle_one_succeeds() {
    let world = world().await;
    let replicas = [world.replica(), world.replica()];
    let requests = (0..6).map(|turn| {
        let new = NewAccount { email: Some(format!("alice{turn}@mail.test")), ..request("alice") };
        replicas[turn % 2].create_account(new)
    });
    let (created, refused): (Vec<_>, Vec<_>) = join_all(requests).await.into_iter().partition(Result::is_ok);
    assert_eq!((created.len(), refused.len()), (1, 5));
    for error in refused {
        assert_eq!(error.unwrap_err().to_string(), "Handle already taken: alice.test");
    }
    let created = created.into_iter().next().unwrap().unwrap();
    assert!(world.plc.state(&created.did).is_some());
    assert_eq!(world.plc.dids().len() - world.ended_dids(), 1, "a DID without account goes on");
    assert_eq!(world.events().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sign_ups_for_the_last_use_of_a_code_one_succeeds() {
    let mut world = world().await;
    world.config.invites.required = true;
    seed::invite_code(&world.db.pool(), "once", 1).await;
    let replicas = [world.replica(), world.replica()];
    let requests = ["alice", "bob"].into_iter().zip(&replicas).map(|(name, replica)| {
        replica.create_account(NewAccount { invite_code: Some("once".to_owned()), ..request(name) })
    });
    let (created, refused): (Vec<_>, Vec<_>) = join_all(requests).await.into_iter().partition(Result::is_ok);
    assert_eq!((created.len(), refused.len()), (1, 1));
    assert!(matches!(refused[0], Err(CreateAccountError::InviteNotAvailable)), "{refused:?}");
}

#[tokio::test]
async fn a_directory_that_is_down_leaves_nothing_behind() {
    let world = world().await;
    let replica = world.replica();
    world.plc.set_down(true);
    let error = replica.create_account(request("alice")).await.unwrap_err();
    assert!(matches!(error, CreateAccountError::Plc(_)), "{error}");
    assert_eq!(replica.0.services.accounts.find_by_handle(&"alice.test".parse().unwrap()).await.unwrap(), None);
    world.plc.set_down(false);
    replica.create_account(request("alice")).await.unwrap();
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_a_sign_up() {
    let world = world().await;
    let replica = world.replica();
    let begun = replica.create_account(request("alice"));
    assert!(futures_util::poll!(std::pin::pin!(begun)).is_pending());
    let handle = "alice.test".parse().unwrap();
    let account = loop {
        if let Some(account) = replica.0.services.accounts.find_by_handle(&handle).await.unwrap() {
            break account;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(world.plc.dids(), [account.did]);
}

#[tokio::test]
async fn without_a_password_nobody_can_sign_in() {
    let world = world().await;
    let replica = world.replica();
    replica.create_account(NewAccount { password: None, ..request("alice") }).await.unwrap();
    let accounts = &replica.0.services.accounts;
    assert!(accounts.find_by_login("alice.test", "".into()).await.unwrap().is_none());
}

#[test]
fn a_policy_that_cannot_be_followed_is_refused() {
    let mut config = Config::for_tests();
    config.identity.recovery_did_key = Some("did:key:zzz".to_owned());
    assert!(matches!(Policy::from_config(&config), Err(PolicyError::RecoveryKey(_))));
    config.secrets.plc_rotation_key = PlcRotationKey::K256(crate::config::Key32::from_bytes([0; 32]));
    assert!(matches!(Policy::from_config(&config), Err(PolicyError::RotationKey(_))));
    config.identity.recovery_did_key = None;
    config.secrets.plc_rotation_key = PlcRotationKey::Kms("key".to_owned());
    assert!(Policy::from_config(&config).is_ok(), "nobody asks for the key yet");
}

/// The request of somebody who moves here with a DID that they have proven to be theirs.
fn moving(name: &str, did: &Did) -> NewAccount {
    NewAccount { did: Some(did.clone()), proven_did: Some(did.clone()), ..request(name) }
}

#[tokio::test]
async fn who_moves_here_starts_closed_and_in_silence() {
    let world = world().await;
    let (replica, did) = (world.replica(), "did:plc:moving".parse().unwrap());
    let reserved = replica.0.services.keys.reserve(Some(&did)).await.unwrap();
    let created = replica.create_account(moving("alice", &did)).await.unwrap();
    assert_eq!((&created.did, created.document), (&did, None));
    let services = &replica.0.services;
    let account = services.accounts.find_by_did(&did).await.unwrap().unwrap();
    assert_eq!(account.status, Status::Deactivated);
    let key = services.keys.find_signing_key(created.id, &did).await.unwrap().unwrap();
    assert_eq!(key.public_key(), reserved, "the key that was reserved");
    assert!(services.keys.find_reserved(&did).await.unwrap().is_none(), "and is no longer");
    assert!(services.accounts.find_by_login("alice.test", "correct horse".into()).await.unwrap().is_some());
    assert!(services.sessions.rotate(created.id, &created.refresh_token.id).await.unwrap().is_some());
    assert!(world.events().await.is_empty());
    assert!(world.plc.dids().is_empty());

    replica.activate(&did).await.unwrap();
    assert_eq!(world.told(&did).await, ["#account active", "#identity alice.test", "#sync"]);
}

#[tokio::test]
async fn who_moves_here_and_never_arrives_is_forgotten() {
    let world = world().await;
    let (replica, did) = (world.replica(), "did:plc:moving".parse().unwrap());
    replica.create_account(moving("alice", &did)).await.unwrap();
    traces::age_deactivation(&world.db.pool(), &did, HOUR * 72).await;
    assert_eq!(replica.delete_overdue().await.unwrap(), 0, "not before the third day is over");
    traces::bring_deletion_forward(&world.db.pool(), &did, HOUR * 73).await;
    assert_eq!(replica.delete_overdue().await.unwrap(), 1);
    replica.create_account(moving("alice", &did)).await.unwrap();
}

#[tokio::test]
async fn a_did_of_ones_own_must_be_proven_and_new_here() {
    let mut world = world().await;
    let web = WebDid::start().await;
    let here = world.create_account("alice").await;
    let owners = [("bob.example.com", web.did.as_str()), ("carol.example.com", here.did.as_str())];
    let _name_server = world.with_names(&owners).await;
    let replica = world.replica();
    let elsewhere = |handle: &str, did: &Did| NewAccount { handle: handle.to_owned(), ..moving("bob", did) };
    let refusal = async |new: NewAccount| replica.create_account(new).await.unwrap_err();

    let unproven = refusal(NewAccount { proven_did: None, ..moving("bob", &web.did) }).await;
    assert!(matches!(unproven, CreateAccountError::DidUnproven(_)), "{unproven}");
    let others = refusal(NewAccount { proven_did: Some(here.did.clone()), ..moving("bob", &web.did) }).await;
    assert!(matches!(others, CreateAccountError::DidUnproven(_)), "{others}");
    let taken = refusal(moving("bob", &here.did)).await;
    assert!(matches!(taken, CreateAccountError::DidTaken), "{taken}");
    for handle in ["carol.example.com", "dave.example.com"] {
        let unresolved = refusal(elsewhere(handle, &web.did)).await;
        assert!(matches!(unresolved, CreateAccountError::HandleUnresolved), "{handle}: {unresolved}");
    }
    let bob = replica.create_account(elsewhere("bob.example.com", &web.did)).await.unwrap();
    assert_eq!((bob.did, bob.handle.as_str()), (web.did.clone(), "bob.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_bring_one_did_one_succeeds() {
    let world = world().await;
    let replicas = [world.replica(), world.replica()];
    let did: Did = "did:plc:moving".parse().unwrap();
    let requests = (0..6).map(|turn| replicas[turn % 2].create_account(moving(&format!("alice{turn}"), &did)));
    let (created, refused): (Vec<_>, Vec<_>) = join_all(requests).await.into_iter().partition(Result::is_ok);
    assert_eq!((created.len(), refused.len()), (1, 5));
    assert!(refused.iter().all(|error| matches!(error, Err(CreateAccountError::DidTaken))), "{refused:?}");
}

#[tokio::test]
async fn where_sign_up_is_closed_only_the_operator_makes_accounts() {
    let mut world = world().await;
    world.config.service.accepting_sign_ups = false;
    world.config.invites.required = true;
    let replica = world.replica();
    let moved = moving("bob", &"did:plc:moving".parse().unwrap());
    for new in [request("alice"), moved] {
        let refused = replica.create_account(new).await;
        assert!(matches!(refused, Err(CreateAccountError::Closed)), "{refused:?}");
    }
    let log = AuditLog::new(world.db.pool());
    assert_eq!(log.list(&Filter::default(), 10).await.unwrap(), [], "nothing was done");
    // A name that nobody else gets.
    let new = NewAccount { operator: Some(Actor::Admin), ..request("admin") };
    let admin = replica.create_account(new).await.unwrap();
    let entry = log.list(&Filter::default(), 10).await.unwrap().remove(0);
    assert_eq!((entry.action.as_str(), entry.actor.as_str()), ("account.create", "admin"));
    assert_eq!((entry.did.as_deref(), entry.outcome.as_str()), (Some(admin.did.as_str()), "done"));
    assert_eq!(entry.after, Some(json!({ "handle": "admin.test", "email": "admin@mail.test" })));
}

/// A sign-up of which everything is ready but the account, as a process leaves it that is killed there.
async fn begin(replica: &Lifecycle, name: &str) -> Draft {
    let sign_up = replica.0.check_sign_up(request(name)).await.unwrap();
    let draft = replica.0.draft_account(sign_up).await.unwrap();
    replica.0.make_did(&draft).await.unwrap();
    draft
}

#[tokio::test]
async fn a_did_whose_account_never_came_is_ended_by_a_worker() {
    let world = world().await;
    let (killed, worker) = (world.replica(), world.replica());
    let draft = begin(&killed, "alice").await;
    assert_eq!(worker.undo_unfinished().await.unwrap(), 0, "it may be going on");
    assert!(world.plc.state(&draft.did).is_some());
    traces::age_unfinished(&world.db.pool(), Duration::from_mins(6)).await;
    // A directory that is down only means another try.
    world.plc.set_down(true);
    assert_eq!(worker.undo_unfinished().await.unwrap(), 0);
    world.plc.set_down(false);
    assert_eq!(worker.undo_unfinished().await.unwrap(), 1);
    assert_eq!((world.plc.state(&draft.did), world.ended_dids()), (None, 1));
    assert_eq!(traces::unfinished(&world.db.pool()).await, (0, 0));
    assert_eq!(worker.undo_unfinished().await.unwrap(), 0);

    // The process was only slow: it finds that it came too late.
    let late = killed.0.store_account(&draft).await;
    assert!(matches!(late, Err(CreateAccountError::Undone)), "{late:?}");
    worker.create_account(request("alice")).await.unwrap();
    assert!(world.told(&draft.did).await.is_empty());
}

#[tokio::test]
async fn a_did_that_its_owner_has_changed_since_is_left_alone() {
    let world = world().await;
    let replica = world.replica();
    let user = SigningKey::generate(&mut rand::rng());
    let new = NewAccount { recovery_key: Some(user.public_key().to_string()), ..request("alice") };
    let sign_up = replica.0.check_sign_up(new).await.unwrap();
    let draft = replica.0.draft_account(sign_up).await.unwrap();
    replica.0.make_did(&draft).await.unwrap();
    let mut state = world.plc.state(&draft.did).unwrap();
    state.set_handle(&"alice.example.com".parse().unwrap());
    let prev = Some(draft.operation.as_ref().unwrap().cid().unwrap());
    let change = atproto::identity::plc::UnsignedOperation::Update { state, prev };
    world.plc.submit(&draft.did, change.sign(&user).unwrap());

    traces::age_unfinished(&world.db.pool(), HOUR).await;
    assert_eq!(replica.undo_unfinished().await.unwrap(), 1);
    assert!(world.plc.state(&draft.did).is_some());
}

#[tokio::test]
async fn a_did_that_the_directory_may_hear_of_yet_is_remembered_for_an_hour() {
    let world = world().await;
    let replica = world.replica();
    world.plc.set_down(true);
    let failed = replica.create_account(request("alice")).await;
    assert!(matches!(failed, Err(CreateAccountError::Plc(_))), "{failed:?}");
    world.plc.set_down(false);
    assert_eq!(traces::unfinished(&world.db.pool()).await, (1, 0));
    traces::age_unfinished(&world.db.pool(), HOUR / 2).await;
    assert_eq!(replica.undo_unfinished().await.unwrap(), 0);
    traces::age_unfinished(&world.db.pool(), HOUR / 2).await;
    assert_eq!(replica.undo_unfinished().await.unwrap(), 1);
    assert_eq!(traces::unfinished(&world.db.pool()).await, (0, 0));
}

/// Signs up while one statement after the other fails, until none does. Each time, a worker comes by later.
async fn sign_up_with_faults(world: &World, fault: Fault) {
    let (tap, worker) = (world.db.tap().await, world.replica());
    let replica = world.replica_on(tap.pool());
    for cut in 0_u32.. {
        let name = format!("alice-{cut}");
        tap.arm_after(cut.into(), fault);
        let created = replica.create_account(request(&name)).await;
        // A statement whose connection broke may run when this one is done, and leave its draft then.
        loop {
            traces::age_unfinished(&world.db.pool(), HOUR * 2).await;
            worker.undo_unfinished().await.unwrap();
            if traces::unfinished(&world.db.pool()).await == (0, 0) {
                break;
            }
        }
        let handle = format!("{name}.test").parse().unwrap();
        let account = worker.0.services.accounts.find_by_handle(&handle).await.unwrap();
        let goes_on = |did: &&Did| world.plc.state(did).is_some_and(|state| state.also_known_as[0].contains(&name));
        let dids: Vec<Did> = world.plc.dids().iter().filter(goes_on).cloned().collect();
        let expected: Vec<Did> = account.iter().map(|account| account.did.clone()).collect();
        assert_eq!(dids, expected, "{fault:?} {cut}: a DID for each account, and none besides");
        match created {
            Ok(created) => {
                assert_eq!(expected, [created.did]);
                // More than a sign-up has.
                if cut > 8 {
                    return;
                }
            }
            // Whoever was told of a failure can try again, unless it was a lost answer.
            Err(_) if account.is_none() => drop(worker.create_account(request(&name)).await.unwrap()),
            Err(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_that_is_cut_off_at_any_step_leaves_no_did_without_account() {
    for fault in [Fault::BreakBeforeAnswer, Fault::LoseAnswer] {
        sign_up_with_faults(&world().await, fault).await;
    }
}
