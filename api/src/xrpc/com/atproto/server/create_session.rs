//! `com.atproto.server.createSession`: signing in with a password.

use axum::extract::State;
use common::{
    account::{Account, AccountStatus, Credential, MAX_LOGIN_PASSWORD_CHARS, SignIn},
    session::{Opening, Origin, RefreshToken},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{SessionOutput, SessionView, admit_password};
use crate::{
    auth::{AccessScope, EvenTime, account_taken_down},
    limit::Admission,
    state::AppState,
    xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult},
};

/// The method. How often an identifier and an address may try is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.createSession");

/// Who signs in. `authFactorToken` is ignored: there is no second factor.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Handle, DID or e-mail address.
    identifier: String,
    /// The main password or an app password.
    password: SecretString,
    /// Whether a session that is only good for moving away will do, if the account is taken down.
    allow_takendown: Option<bool>,
}

/// An unknown name and a wrong password are not told apart, by the answer or its time. That an account is taken down is
/// only told to who knows the main password.
pub async fn handle(
    State(app): State<AppState>,
    admission: Admission,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<SessionOutput> {
    admit_password(&app, &admission, &input.identifier).await?;
    if input.password.expose_secret().chars().count() > MAX_LOGIN_PASSWORD_CHARS {
        return Err(XrpcError::auth_required("Password too long. Consider resetting your password."));
    }
    let refusal = EvenTime::start();
    let Some(session) = open(&app, input, admission.address()).await? else {
        refusal.pass().await;
        return Err(XrpcError::auth_required("Invalid identifier or password"));
    };
    Ok(XrpcJson(SessionOutput {
        access_jwt: app.tokens.issue_access(&session.account.did, session.scope)?,
        refresh_jwt: app.tokens.issue_refresh(&session.account.did, &session.token)?,
        view: SessionView::new(&app, session.account).await,
    }))
}

/// A session that was opened.
struct Session {
    account: Account,
    scope: AccessScope,
    token: RefreshToken,
}

/// Opens a session for whoever knows a password.
async fn open(app: &AppState, input: Input, from: Option<&str>) -> Result<Option<Session>, XrpcError> {
    let sign_in = app.accounts.sign_in(&input.identifier, input.password).await?;
    let Some(SignIn { account, credential }) = sign_in else { return Ok(None) };
    if account.status == AccountStatus::Takendown {
        if !input.allow_takendown.unwrap_or(false) {
            return Err(account_taken_down());
        }
        // Never stored, so it cannot be exchanged: this session ends with its access token.
        let token = app.sessions.new_token();
        return Ok(Some(Session { account, scope: AccessScope::Takendown, token }));
    }
    let (opening, origin) = match &credential {
        Credential::MainPassword(hash) => (Opening::MainPassword { hash: hash.as_str() }, Origin::MainPassword),
        Credential::AppPassword(password) => {
            (Opening::AppPassword { name: &password.name }, Origin::AppPassword { privileged: password.privileged })
        }
    };
    // None if the password was changed or revoked just now.
    let token = app.sessions.start(account.id, opening, from).await.map_err(XrpcError::internal)?;
    Ok(token.map(|token| Session { account, scope: origin.into(), token }))
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
    async fn an_app_password_opens_a_session_that_may_do_less() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        for (name, privileged, scope) in
            [("phone", false, "com.atproto.appPass"), ("chat", true, "com.atproto.appPassPrivileged")]
        {
            let input = json!({ "name": name, "privileged": privileged });
            let create = api.call(super::super::create_app_password::METHOD).bearer(&alice.access);
            let password = create.json(&input).send().await.expect_ok()["password"].as_str().unwrap().to_owned();
            let output = sign_in(&api, "alice.test", &password).await.expect_ok();
            assert_eq!(output["email"], "alice@mail.test");
            let access = output["accessJwt"].as_str().unwrap();
            let granted = api.app().tokens.read_access(access).unwrap().scope;
            assert_eq!(serde_json::to_value(granted).unwrap(), scope);
            let session = api.call(super::super::get_session::METHOD).bearer(access).send().await.expect_ok();
            assert_eq!(session["handle"], "alice.test");

            let revoke = api.call(super::super::revoke_app_password::METHOD).bearer(&alice.access);
            revoke.json(&json!({ "name": name })).send().await.expect_ok();
            let refused = sign_in(&api, "alice.test", &password).await.error();
            assert_eq!(refused, (401, "AuthenticationRequired".to_owned()));
            let refresh =
                api.call(super::super::refresh_session::METHOD).bearer(output["refreshJwt"].as_str().unwrap());
            assert_eq!(refresh.send().await.error(), (400, "ExpiredToken".to_owned()));
        }
    }

    #[tokio::test]
    async fn an_app_password_does_not_tell_that_an_account_is_taken_down() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let create = api.call(super::super::create_app_password::METHOD).bearer(&alice.access);
        let made = create.json(&json!({ "name": "phone" })).send().await.expect_ok();
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        for allow in [false, true] {
            let input = json!({ "identifier": "alice.test", "password": made["password"], "allowTakendown": allow });
            let reply = api.call(METHOD).json(&input).send().await;
            let unknown = refusal("AuthenticationRequired", "Invalid identifier or password");
            assert_eq!(reply.error_with_message(), unknown);
        }
    }

    #[tokio::test]
    async fn a_password_of_the_reference_server_signs_in_and_is_hashed_anew() {
        /// As Node's `scryptSync("correct horse", salt, 64)` gives it.
        const SCRYPT: &str = "000102030405060708090a0b0c0d0e0f:\
            5840f2841249294a51f654db7224551cfcf1600bc79b5f32f5e2dd856ce221fc\
            4f1ff6dad64b9fab6d4fb8f13bdd8bea4db17fbf92c730afd5eaee0cc42249af";
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let account = api.app().accounts.find_by_did(&alice.did.parse().unwrap()).await.unwrap().unwrap().id;
        seed::set_password(&api.db.pool(), account, &SCRYPT.parse().unwrap()).await;
        assert_eq!(sign_in(&api, "alice.test", "wrong horse").await.error().0, 401);
        for _ in 0..2 {
            sign_in(&api, "alice.test", PASSWORD).await.expect_ok();
            let stored = seed::password_hash(&api.db.pool(), account).await;
            assert!(stored.starts_with("$argon2id$"), "{stored}");
        }
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
