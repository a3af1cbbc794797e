//! Codes against a real database.

use futures_util::future::join_all;

use super::*;
use crate::account::scene::{World, world};
use crate::testing::seed;

impl World {
    async fn request(&self, purpose: CodePurpose) -> EmailCode {
        let request = SendCode { did: self.did.clone(), purpose, locale: None };
        self.accounts.request_code(&request).await.unwrap();
        self.find(purpose).await.unwrap()
    }

    async fn find(&self, purpose: CodePurpose) -> Option<EmailCode> {
        self.accounts.find_code(&self.did, purpose).await.unwrap().map(|mail| mail.code)
    }

    async fn consume(&self, purpose: CodePurpose, code: &str) -> Result<(), String> {
        self.accounts.consume_code(&self.did, purpose, code).await.map_err(|error| error.to_string())
    }
}

const CONFIRM: CodePurpose = CodePurpose::ConfirmEmail;

#[test]
fn codes_are_read_in_either_case_and_nothing_else_is() {
    let code = EmailCode::generate();
    assert_eq!(code.as_str().len(), 11);
    for text in [code.as_str().to_owned(), code.as_str().to_ascii_lowercase(), format!(" {}\n", code.as_str())] {
        assert_eq!(text.parse::<EmailCode>().as_ref(), Ok(&code), "{text}");
    }
    let long = "A".repeat(100_000);
    for text in
        ["", "-", "AAAAA", "AAAAAAAAAA", "AAAAA-AAAA1", "AAAAA-AAAAA-AAAAA", "ÄAAAA-AAAA", "AAAAA-AAAA\0", &long]
    {
        assert_eq!(text.parse::<EmailCode>(), Err(EmailCodeError), "{text}");
    }
    assert!(!format!("{code:?}").contains(code.as_str()));
}

#[tokio::test]
async fn a_code_says_where_it_goes_and_is_good_once() {
    let world = world().await;
    assert_eq!(world.find(CONFIRM).await, None);
    let code = world.request(CONFIRM).await;
    let mail = world.accounts.find_code(&world.did, CONFIRM).await.unwrap().unwrap();
    assert_eq!((mail.email.as_str(), mail.handle.unwrap().as_str()), ("alice@mail.test", "alice.test"));
    assert_eq!(world.consume(CONFIRM, &code.as_str().to_ascii_lowercase()).await, Ok(()));
    assert_eq!(world.consume(CONFIRM, code.as_str()).await, Err("Token is invalid".to_owned()));
    assert_eq!(world.find(CONFIRM).await, None);
}

#[tokio::test]
async fn a_code_is_good_for_its_purpose_and_its_account_only() {
    let world = world().await;
    let invalid = Err("Token is invalid".to_owned());
    let code = world.request(CONFIRM).await;
    let other = world.request(CodePurpose::DeleteAccount).await;
    assert_eq!(world.consume(CONFIRM, other.as_str()).await, invalid);
    assert_eq!(world.consume(CodePurpose::DeleteAccount, code.as_str()).await, invalid);
    seed::account(&world.db.pool(), "bob.test").await;
    for stranger in [seed::did_of("bob.test"), "did:plc:nobody".to_owned()] {
        let result = world.accounts.consume_code(&stranger.parse().unwrap(), CONFIRM, code.as_str()).await;
        assert!(matches!(result, Err(CodeError::Invalid)), "{stranger}");
    }
    assert_eq!(world.consume(CONFIRM, code.as_str()).await, Ok(()));
}

#[tokio::test]
async fn asking_again_replaces_the_code() {
    let world = world().await;
    let old = world.request(CONFIRM).await;
    let new = world.request(CONFIRM).await;
    assert_eq!(world.consume(CONFIRM, old.as_str()).await, Err("Token is invalid".to_owned()));
    assert_eq!(world.consume(CONFIRM, new.as_str()).await, Ok(()));
}

#[tokio::test]
async fn an_old_code_is_expired_until_it_is_forgotten() {
    let world = world().await;
    let code = world.request(CONFIRM).await;
    seed::age_codes(&world.db.pool(), CODE_LIFETIME).await;
    assert_eq!(world.find(CONFIRM).await, None);
    for _ in 0..2 {
        assert_eq!(world.consume(CONFIRM, code.as_str()).await, Err("Token is expired".to_owned()));
    }
    assert_eq!(world.accounts.delete_expired_codes().await.unwrap(), 0);
    seed::age_codes(&world.db.pool(), Duration::from_hours(25)).await;
    assert_eq!(world.accounts.delete_expired_codes().await.unwrap(), 1);
    assert_eq!(world.consume(CONFIRM, code.as_str()).await, Err("Token is invalid".to_owned()));
}

#[tokio::test]
async fn a_code_leads_to_its_owner() {
    let world = world().await;
    let owner = async |code: &str| {
        let found = world.accounts.find_code_owner(CodePurpose::ResetPassword, code).await;
        found.map_err(|error| error.to_string())
    };
    let code = world.request(CodePurpose::ResetPassword).await;
    let alice = world.accounts.find_by_did(&world.did).await.unwrap().unwrap().id;
    assert_eq!(owner(code.as_str()).await, Ok(alice));
    assert_eq!(owner(code.as_str()).await, Ok(alice), "looking does not use it up");
    let other = world.request(CONFIRM).await;
    for text in [other.as_str(), "AAAAA-AAAAA", "", "\0"] {
        assert_eq!(owner(text).await, Err("Token is invalid".to_owned()));
    }
    seed::age_codes(&world.db.pool(), CODE_LIFETIME).await;
    assert_eq!(owner(code.as_str()).await, Err("Token is expired".to_owned()));
}

#[tokio::test]
async fn nothing_is_made_for_an_account_that_is_gone() {
    let world = world().await;
    seed::delete_account(&world.db.pool(), world.did.as_str()).await;
    let request = SendCode { did: world.did.clone(), purpose: CONFIRM, locale: None };
    world.accounts.request_code(&request).await.unwrap();
    assert_eq!(world.find(CONFIRM).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_use_one_code_on_two_replicas_one_wins() {
    let world = world().await;
    let code = world.request(CONFIRM).await;
    let replicas = [world.accounts.clone(), Accounts::new(world.db.other_pool())];
    let tries = (0..16).map(|turn| replicas[turn % 2].consume_code(&world.did, CONFIRM, code.as_str()));
    let results = join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(CodeError::Invalid))), "{results:?}");
}
