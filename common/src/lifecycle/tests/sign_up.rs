//! Sign-up against a real database and a PLC directory in this process.

use atproto::commit::Commit;
use atproto::crypto::SigningKey;
use atproto::event::{AccountStatus, Event};
use futures_util::future::join_all;

use super::world::{request, world};
use crate::config::{Config, PlcRotationKey};
use crate::lifecycle::{CreateAccountError, NewAccount, Policy, PolicyError};
use crate::testing::seed;

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
