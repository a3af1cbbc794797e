//! App passwords against a real database.

use super::*;
use crate::account::scene::world;
use crate::testing::seed;

fn parse(text: &str) -> Option<AppPasswordText> {
    AppPasswordText::parse(&text.into())
}

#[test]
fn only_the_form_of_an_app_password_is_looked_up() {
    let text = AppPasswordText::generate();
    assert_eq!(text.expose().len(), 19);
    assert!(parse(text.expose()).is_some());
    assert!(!format!("{text:?}").contains(text.expose()));
    for other in
        ["", "aaaa", "aaaa-aaaa-aaaa", "aaaa-aaaa-aaaa-aaaa-aaaa", "AAAA-aaaa-aaaa-aaaa", "aaaa-aaaa-aaaa-aaa1", "---"]
    {
        assert!(parse(other).is_none(), "{other}");
    }
}

#[tokio::test]
async fn a_password_is_found_by_its_text_until_it_is_revoked() {
    let world = world().await;
    let (db, accounts, alice) = (&world.db, &world.accounts, world.account().await);
    let (made, text) = accounts.create_app_password(&alice, "phone", false).await.unwrap();
    let (privileged, other) = accounts.create_app_password(&alice, "chat 🐦", true).await.unwrap();
    assert_eq!(accounts.list_app_passwords(alice.id).await.unwrap(), [made.clone(), privileged.clone()]);
    assert_eq!(accounts.find_app_password(&alice, &text).await.unwrap(), Some(made));
    assert_eq!(accounts.find_app_password(&alice, &other).await.unwrap(), Some(privileged.clone()));

    seed::account(&db.pool(), "bob.test").await;
    let bob = accounts.find_by_handle(&"bob.test".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(accounts.find_app_password(&bob, &text).await.unwrap(), None, "another account's");

    for name in ["phone", "phone", "unknown", "", "NUL\0"] {
        accounts.revoke_app_password(alice.id, name).await.unwrap();
    }
    assert_eq!(accounts.find_app_password(&alice, &text).await.unwrap(), None);
    assert_eq!(accounts.list_app_passwords(alice.id).await.unwrap(), [privileged]);
}

#[tokio::test]
async fn names_are_checked_and_kept_apart() {
    let world = world().await;
    let (accounts, alice) = (&world.accounts, world.account().await);
    let long = "x".repeat(MAX_APP_PASSWORD_NAME + 1);
    for name in ["", " ", " phone", "phone\n", "a\u{0}b", "a\u{85}b", &long] {
        let result = accounts.create_app_password(&alice, name, false).await;
        assert!(matches!(result, Err(CreateAppPasswordError::Name)), "{name:?}");
    }
    accounts.create_app_password(&alice, "phone", false).await.unwrap();
    let again = accounts.create_app_password(&alice, "phone", true).await;
    assert!(matches!(again, Err(CreateAppPasswordError::NameTaken)), "{again:?}");
    accounts.create_app_password(&alice, "Phone", false).await.unwrap();
}

#[tokio::test]
async fn an_account_has_not_more_than_so_many() {
    let world = world().await;
    let (accounts, alice) = (&world.accounts, world.account().await);
    for n in 0..MAX_APP_PASSWORDS {
        accounts.create_app_password(&alice, &n.to_string(), false).await.unwrap();
    }
    let one_more = accounts.create_app_password(&alice, "more", false).await;
    assert!(matches!(one_more, Err(CreateAppPasswordError::TooMany)), "{one_more:?}");
    accounts.revoke_app_password(alice.id, "7").await.unwrap();
    accounts.create_app_password(&alice, "more", false).await.unwrap();
}

/// As Node's `scryptSync("aaaa-bbbb-cccc-dddd", salt, 64)` gives it, where the salt is the first half of the hexadecimal
/// SHA-256 of Alice's DID.
const REFERENCE: &str = "a3224ab53d1828303ff953cf4d78fe90:\
    26b6e441e80a6d2e5880668a69b94806a67e4a8141a360d1e57e7b71b07b886e\
    e0972ef51b9fd847fd3abcf0919e26fe81f518c380a3ac6e95067518cf9f2876";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_from_the_reference_server_fits_and_is_stored_anew() {
    let world = world().await;
    let (db, accounts, alice) = (&world.db, &world.accounts, world.account().await);
    let text = parse("aaaa-bbbb-cccc-dddd").unwrap();
    seed::app_password_of_reference(&db.pool(), alice.id, "phone", REFERENCE).await;
    let other = parse("aaaa-bbbb-cccc-ddde").unwrap();
    assert_eq!(accounts.find_app_password(&alice, &other).await.unwrap(), None);
    assert!(seed::has_reference_hashes(&db.pool(), alice.id).await);
    let elsewhere = Accounts::new(db.other_pool());
    let logins = (0..6).map(|turn| [accounts, &elsewhere][turn % 2].find_app_password(&alice, &text));
    for found in futures_util::future::join_all(logins).await {
        assert_eq!(found.unwrap().unwrap().name, "phone");
    }
    assert!(!seed::has_reference_hashes(&db.pool(), alice.id).await);
    assert_eq!(accounts.find_app_password(&alice, &text).await.unwrap().unwrap().name, "phone");
}
