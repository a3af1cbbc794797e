//! `com.atproto.server.confirmEmail`: showing that mail at the account's address is read.

use axum::extract::State;
use common::account::{Accounts, ConfirmEmailError};
use serde::Deserialize;

use crate::{
    auth::{AccessAuth, Checked, account_not_found},
    xrpc::{Method, XrpcBody, XrpcError},
};

/// The method. How often codes may be tried is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.confirmEmail");

/// The address and the code that was sent there.
#[derive(Deserialize)]
pub struct Input {
    email: String,
    token: String,
}

/// A code is good once. An address that is confirmed already can be confirmed again.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<AccessAuth>,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    Ok(accounts.confirm_email(account.id, &input.email, &input.token).await?)
}

impl From<ConfirmEmailError> for XrpcError {
    fn from(error: ConfirmEmailError) -> Self {
        match error {
            ConfirmEmailError::AccountNotFound => account_not_found(),
            ConfirmEmailError::OtherEmail => Self::bad_request("InvalidEmail", error),
            ConfirmEmailError::Code(error) => error.into(),
            ConfirmEmailError::Storage(error) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::account::{CODE_LIFETIME, CodePurpose};
    use common::testing::seed;
    use serde_json::json;

    use super::super::{get_session, request_email_confirmation};
    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::{TestAccount, TestApi};

    async fn with_code() -> (TestApi, TestAccount, String) {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        api.call(request_email_confirmation::METHOD).bearer(&alice.access).send().await.expect_ok();
        let code = api.mailed_code(&alice, CodePurpose::ConfirmEmail).await;
        (api, alice, code)
    }

    async fn confirm(api: &TestApi, token: &str, email: &str, code: &str) -> Result<(), (u16, String)> {
        let reply = api.call(METHOD).bearer(token).json(&json!({ "email": email, "token": code })).send().await;
        if reply.status.is_success() { Ok(()) } else { Err(reply.error()) }
    }

    #[tokio::test]
    async fn an_address_is_confirmed_with_the_code_of_the_mail() {
        let (api, alice, code) = with_code().await;
        let is_confirmed = async || {
            let session = api.call(get_session::METHOD).bearer(&alice.access).send().await;
            session.expect_ok()["emailConfirmed"].clone()
        };
        assert_eq!(is_confirmed().await, false);
        let code = code.to_ascii_lowercase();
        assert_eq!(confirm(&api, &alice.access, "Alice@Mail.test", &code).await, Ok(()));
        assert_eq!(is_confirmed().await, true);
        assert_eq!(confirm(&api, &alice.access, "alice@mail.test", &code).await, Err((400, "InvalidToken".to_owned())));
    }

    #[tokio::test]
    async fn every_refusal_has_its_status_and_name_and_leaves_the_code_good() {
        let (api, alice, code) = with_code().await;
        let bob = api.create_account("bob").await;
        let long = "x".repeat(100_000);
        for (token, email, code, name) in [
            (&alice, "bob@mail.test", code.as_str(), "InvalidEmail"),
            (&alice, "", &code, "InvalidEmail"),
            // An i without dot, which some lower-case rules make of the capital one.
            (&alice, "al\u{131}ce@mail.test", &code, "InvalidEmail"),
            (&alice, &long, &code, "InvalidEmail"),
            (&alice, "alice@mail.test", "AAAAA-AAAAA", "InvalidToken"),
            (&alice, "alice@mail.test", "", "InvalidToken"),
            (&alice, "alice@mail.test", "\0", "InvalidToken"),
            (&alice, "alice@mail.test", &long, "InvalidToken"),
            (&bob, "bob@mail.test", &code, "InvalidToken"),
        ] {
            assert_eq!(confirm(&api, &token.access, email, code).await, Err((400, name.to_owned())), "{email} {code}");
        }
        seed::age_codes(&api.db.pool(), CODE_LIFETIME).await;
        let expired = confirm(&api, &alice.access, "alice@mail.test", &code).await;
        assert_eq!(expired, Err((400, "ExpiredToken".to_owned())));
        let empty = api.call(METHOD).bearer(&alice.access).json(&json!({})).send().await;
        assert_eq!(empty.error(), (400, "InvalidRequest".to_owned()));
    }

    #[tokio::test]
    async fn the_account_must_stand() {
        let (api, alice, code) = with_code().await;
        let takendown = api.app().tokens.issue_access(&alice.did.parse().unwrap(), AccessScope::Takendown).unwrap();
        let call = async |token: &str| confirm(&api, token, "alice@mail.test", &code).await;
        assert_eq!(call(&takendown).await, Err((400, "InvalidToken".to_owned())));
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(call(&alice.access).await, Err((401, "AccountTakedown".to_owned())));
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(call(&alice.access).await, Err((403, "AccountNotFound".to_owned())));
    }
}
