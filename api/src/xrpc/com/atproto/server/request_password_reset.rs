//! `com.atproto.server.requestPasswordReset`: mails the code that resetPassword asks for.

use axum::extract::State;
use common::account::{Accounts, CodePurpose, SendCode};
use serde::Deserialize;

use crate::{
    auth::EvenTime,
    http::PreferredLanguages,
    limit::Admission,
    xrpc::{Method, XrpcBody, XrpcError},
};

/// The method. How many mails a caller may ask for is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.requestPasswordReset");

/// Whose password it is.
#[derive(Deserialize)]
pub struct Input {
    email: String,
}

/// The answer is the same, and takes the same time, whether or not there is an account.
///
/// Reference: it tells an unknown address from a known one.
pub async fn handle(
    State(accounts): State<Accounts>,
    PreferredLanguages(locale): PreferredLanguages,
    admission: Admission,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    admission.charge_name(&input.email).await?;
    let answer = EvenTime::start();
    if let Some(account) = accounts.find_by_email(&input.email).await.map_err(XrpcError::internal)? {
        let request = SendCode { did: account.did, purpose: CodePurpose::ResetPassword, locale };
        accounts.request_code(&request).await.map_err(XrpcError::internal)?;
    }
    answer.pass().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::json;

    use super::*;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn a_known_address_and_any_other_look_the_same() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let long = "x".repeat(100_000);
        for email in
            ["ALICE@mail.test", "bob@mail.test", "no address", "", "alice@mail.test\0", "\u{212A}@mail.test", &long]
        {
            let reply = api.call(METHOD).json(&json!({ "email": email })).send().await;
            assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""), "{email}");
        }
        api.mailed_code(&alice, CodePurpose::ResetPassword).await;
        let no_email = api.call(METHOD).json(&json!({})).send().await;
        assert_eq!(no_email.error(), (400, "InvalidRequest".to_owned()));
    }

    #[tokio::test]
    async fn closed_accounts_may_have_a_new_password_too() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        api.call(METHOD).json(&json!({ "email": "alice@mail.test" })).send().await.expect_ok();
        api.mailed_code(&alice, CodePurpose::ResetPassword).await;
    }
}
