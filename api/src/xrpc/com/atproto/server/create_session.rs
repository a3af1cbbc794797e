//! `com.atproto.server.createSession`: signing in with a password.

use axum::extract::State;
use common::account::{AccountStatus, MAX_LOGIN_PASSWORD_CHARS};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{SessionOutput, SessionView};
use crate::{
    auth::AccessScope,
    state::AppState,
    xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.createSession");

/// Who signs in. `authFactorToken` is ignored: there is no second factor.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Handle, DID or e-mail address.
    identifier: String,
    password: SecretString,
    /// Whether a session that is only good for moving away will do, if the account is taken down.
    allow_takendown: Option<bool>,
}

/// An unknown name and a wrong password are not told apart. That an account is taken down is only told to its owner.
pub async fn handle(State(app): State<AppState>, XrpcBody(input): XrpcBody<Input>) -> XrpcResult<SessionOutput> {
    if input.password.expose_secret().chars().count() > MAX_LOGIN_PASSWORD_CHARS {
        return Err(XrpcError::auth_required("Password too long. Consider resetting your password."));
    }
    let account = app.accounts.find_by_login(&input.identifier, input.password).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(|| XrpcError::auth_required("Invalid identifier or password"))?;
    let takendown = account.status == AccountStatus::Takendown;
    if takendown && !input.allow_takendown.unwrap_or(false) {
        return Err(super::taken_down());
    }
    let (scope, token) = if takendown {
        // Never stored, so it cannot be exchanged: this session ends with its access token.
        (AccessScope::Takendown, app.sessions.new_token())
    } else {
        (AccessScope::Full, app.sessions.start(account.id).await.map_err(XrpcError::internal)?)
    };
    Ok(XrpcJson(SessionOutput {
        access_jwt: app.tokens.issue_access(&account.did, scope)?,
        refresh_jwt: app.tokens.issue_refresh(&account.did, &token)?,
        view: SessionView::new(&app, account).await,
    }))
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{PASSWORD, Reply, TestApi};

    async fn sign_in(api: &TestApi, identifier: &str, password: &str) -> Reply {
        api.call(METHOD).json(&json!({ "identifier": identifier, "password": password })).send().await
    }

    fn refusal(name: &str, message: &str) -> (u16, String, String) {
        (401, name.to_owned(), message.to_owned())
    }

    #[tokio::test]
    async fn any_name_and_the_password_open_a_session() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        for identifier in ["alice.test", "ALICE.test", "alice@mail.test", "Alice@Mail.Test", &alice.did] {
            let mut output = sign_in(&api, identifier, PASSWORD).await.expect_ok();
            for token in ["accessJwt", "refreshJwt"] {
                assert!(output.as_object_mut().unwrap().remove(token).unwrap().is_string());
            }
            let expected = json!({
                "did": alice.did, "handle": "alice.test", "email": "alice@mail.test", "emailConfirmed": false,
                "active": true
            });
            assert_eq!(output, expected, "{identifier}");
        }
    }

    #[tokio::test]
    async fn the_document_is_there_if_the_operator_wants_it() {
        let api = TestApi::start_with(1, |config| config.identity.did_doc_with_session = true).await;
        let alice = api.create_account("alice").await;
        assert_eq!(sign_in(&api, "alice.test", PASSWORD).await.expect_ok()["didDoc"]["id"], alice.did);
    }

    #[tokio::test]
    async fn a_wrong_password_and_an_unknown_name_look_the_same() {
        let api = TestApi::start().await;
        api.create_account("alice").await;
        let expected = refusal("AuthenticationRequired", "Invalid identifier or password");
        for (identifier, password) in
            [("alice.test", "wrong"), ("alice.test", ""), ("bob.test", PASSWORD), ("bob@mail.test", PASSWORD), ("", "")]
        {
            assert_eq!(sign_in(&api, identifier, password).await.error_with_message(), expected, "{identifier}");
        }
        // Before anything is looked up or hashed.
        let too_long = refusal("AuthenticationRequired", "Password too long. Consider resetting your password.");
        assert_eq!(sign_in(&api, "alice.test", &"x".repeat(513)).await.error_with_message(), too_long);
        assert_eq!(sign_in(&api, "alice.test", &"x".repeat(512)).await.error_with_message(), expected);
        let no_password = api.call(METHOD).json(&json!({ "identifier": "alice.test" })).send().await;
        assert_eq!(no_password.error(), (400, "InvalidRequest".to_owned()));
    }

    #[tokio::test]
    async fn a_deactivated_account_signs_in_and_is_told() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        let output = sign_in(&api, "alice.test", PASSWORD).await.expect_ok();
        assert_eq!((&output["active"], &output["status"]), (&json!(false), &json!("deactivated")));
    }

    #[tokio::test]
    async fn only_its_owner_hears_that_an_account_is_taken_down() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        let unknown = refusal("AuthenticationRequired", "Invalid identifier or password");
        assert_eq!(sign_in(&api, "alice.test", "wrong").await.error_with_message(), unknown);
        let taken_down = refusal("AccountTakedown", "Account has been taken down");
        assert_eq!(sign_in(&api, "alice.test", PASSWORD).await.error_with_message(), taken_down);

        let input = json!({ "identifier": "alice.test", "password": PASSWORD, "allowTakendown": true });
        let output = api.call(METHOD).json(&input).send().await.expect_ok();
        assert_eq!((&output["active"], &output["status"]), (&json!(false), &json!("takendown")));
        let token = |name: &str| output[name].as_str().unwrap().to_owned();
        let session = api.call(super::super::get_session::METHOD).bearer(&token("accessJwt")).send().await;
        let bad_scope = (400, "InvalidToken".to_owned(), "Bad token scope".to_owned());
        assert_eq!(session.error_with_message(), bad_scope);
        // Once the takedown is reversed, this session still cannot be prolonged.
        seed::set_taken_down(&api.db.pool(), &alice.did, false).await;
        let refreshed = api.call(super::super::refresh_session::METHOD).bearer(&token("refreshJwt")).send().await;
        assert_eq!(refreshed.error(), (400, "ExpiredToken".to_owned()));
    }

    #[tokio::test]
    async fn unknown_fields_are_ignored() {
        let api = TestApi::start().await;
        api.create_account("alice").await;
        let input =
            json!({ "identifier": "alice.test", "password": PASSWORD, "authFactorToken": "123", "x": Value::Null });
        api.call(METHOD).json(&input).send().await.expect_ok();
    }
}
