//! `com.atproto.server.resetPassword`: a new password for whoever has the code of a mail.

use axum::extract::State;
use common::lifecycle::Lifecycle;
use secrecy::SecretString;
use serde::Deserialize;

use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method. How often codes may be tried is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.resetPassword");

/// The code, which also says whose password it is, and the password.
#[derive(Deserialize)]
pub struct Input {
    token: String,
    password: SecretString,
}

/// All sessions end, those of app passwords too; app passwords themselves stay. Access tokens are good until they expire.
pub async fn handle(State(lifecycle): State<Lifecycle>, XrpcBody(input): XrpcBody<Input>) -> Result<(), XrpcError> {
    Ok(lifecycle.reset_password(&input.token, input.password).await?)
}

#[cfg(test)]
mod tests {
    use common::account::{CODE_LIFETIME, CodePurpose};
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::super::{
        create_app_password, create_session, refresh_session, request_email_confirmation, request_password_reset,
    };
    use super::*;
    use crate::testing::{PASSWORD, Reply, TestAccount, TestApi};

    async fn with_code() -> (TestApi, TestAccount, String) {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        api.call(request_password_reset::METHOD).json(&json!({ "email": "alice@mail.test" })).send().await.expect_ok();
        let code = api.mailed_code(&alice, CodePurpose::ResetPassword).await;
        (api, alice, code)
    }

    async fn reset(api: &TestApi, token: &str, password: &str) -> Reply {
        api.call(METHOD).json(&json!({ "token": token, "password": password })).send().await
    }

    async fn sign_in(api: &TestApi, password: &str) -> Result<Value, (u16, String)> {
        let input = json!({ "identifier": "alice.test", "password": password });
        let reply = api.call(create_session::METHOD).json(&input).send().await;
        if reply.status.is_success() { Ok(reply.expect_ok()) } else { Err(reply.error()) }
    }

    #[tokio::test]
    async fn a_new_password_ends_all_sessions_and_leaves_app_passwords() {
        let (api, alice, code) = with_code().await;
        let input = json!({ "name": "phone" });
        let made = api.call(create_app_password::METHOD).bearer(&alice.access).json(&input).send().await.expect_ok();
        let app_password = made["password"].as_str().unwrap();
        let phone = sign_in(&api, app_password).await.unwrap();
        reset(&api, &code.to_ascii_lowercase(), "new horse").await.expect_ok();
        for refresh in [alice.refresh.as_str(), phone["refreshJwt"].as_str().unwrap()] {
            let reply = api.call(refresh_session::METHOD).bearer(refresh).send().await;
            assert_eq!(reply.error(), (400, "ExpiredToken".to_owned()));
        }
        assert_eq!(sign_in(&api, PASSWORD).await, Err((401, "AuthenticationRequired".to_owned())));
        assert!(sign_in(&api, "new horse").await.is_ok());
        assert!(sign_in(&api, app_password).await.is_ok());
        assert_eq!(reset(&api, &code, "third horse").await.error(), (400, "InvalidToken".to_owned()));
    }

    #[tokio::test]
    async fn every_refusal_has_its_status_and_name_and_leaves_the_code_good() {
        let (api, alice, code) = with_code().await;
        api.call(request_email_confirmation::METHOD).bearer(&alice.access).send().await.expect_ok();
        let other = api.mailed_code(&alice, CodePurpose::ConfirmEmail).await;
        let long = "x".repeat(257);
        for (token, password, name) in [
            (code.as_str(), long.as_str(), "InvalidRequest"),
            (&code, "", "InvalidRequest"),
            (&other, "new horse", "InvalidToken"),
            ("AAAAA-AAAAA", "new horse", "InvalidToken"),
            ("", "new horse", "InvalidToken"),
            (&long, "new horse", "InvalidToken"),
        ] {
            assert_eq!(reset(&api, token, password).await.error(), (400, name.to_owned()), "{token}");
        }
        assert!(sign_in(&api, PASSWORD).await.is_ok());
        seed::age_codes(&api.db.pool(), CODE_LIFETIME).await;
        assert_eq!(reset(&api, &code, "new horse").await.error(), (400, "ExpiredToken".to_owned()));
        let no_token = api.call(METHOD).json(&json!({ "password": "new horse" })).send().await;
        assert_eq!(no_token.error(), (400, "InvalidRequest".to_owned()));
    }

    #[tokio::test]
    async fn an_account_without_password_gets_one() {
        let (api, alice, code) = with_code().await;
        seed::remove_password(&api.db.pool(), &alice.did).await;
        assert!(sign_in(&api, PASSWORD).await.is_err());
        reset(&api, &code, "new horse").await.expect_ok();
        assert!(sign_in(&api, "new horse").await.is_ok());
    }
}
