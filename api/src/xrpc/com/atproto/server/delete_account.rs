//! `com.atproto.server.deleteAccount`: deletes an account for good.

use atproto::syntax::Did;
use axum::extract::State;
use common::account::{CodePurpose, MAX_LOGIN_PASSWORD_CHARS};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::admit_password;
use crate::{
    auth::EvenTime,
    limit::Admission,
    state::AppState,
    xrpc::{Method, XrpcBody, XrpcError},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.deleteAccount");

/// Whose account, with the proofs that its owner means it.
#[derive(Deserialize)]
pub struct Input {
    did: Did,
    /// The main password.
    password: SecretString,
    /// The code that requestAccountDelete sent.
    token: String,
}

/// Also of an account that is closed or taken down: its owner may always leave. Its DID is its owner's, and stays.
///
/// An unknown account and a wrong password are not told apart.
pub async fn handle(
    State(app): State<AppState>,
    admission: Admission,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    admit_password(&app, &admission, input.did.as_str()).await?;
    let unauthorized = || XrpcError::auth_required("Invalid did or password");
    if input.password.expose_secret().chars().count() > MAX_LOGIN_PASSWORD_CHARS {
        return Err(unauthorized());
    }
    let time = EvenTime::start();
    let account = app.accounts.find_by_login(input.did.as_str(), input.password).await;
    time.pass().await;
    let account = account?.ok_or_else(unauthorized)?;
    app.accounts.consume_code(&account.did, CodePurpose::DeleteAccount, &input.token).await?;
    // The code is used up, and whoever had it means it: what fails now may be asked for again with another one.
    app.lifecycle.delete(&account.did, None).await.map_err(XrpcError::internal)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::account::SendCode;
    use common::testing::seed;
    use futures_util::future::join_all;
    use serde_json::{Value, json};

    use super::super::{create_session, refresh_session};
    use super::*;
    use crate::testing::{PASSWORD, Reply, TestApi};

    async fn code(api: &TestApi, did: &str) -> String {
        let (did, accounts) = (did.parse::<Did>().unwrap(), &api.app().accounts);
        let request = SendCode { did: did.clone(), purpose: CodePurpose::DeleteAccount, locale: None };
        accounts.request_code(&request).await.unwrap();
        accounts.find_code(&did, CodePurpose::DeleteAccount).await.unwrap().unwrap().code.as_str().to_owned()
    }

    async fn delete(api: &TestApi, replica: usize, input: &Value) -> Reply {
        api.call_on(replica, METHOD).json(input).send().await
    }

    #[tokio::test]
    async fn an_account_goes_with_password_and_code_on_all_replicas() {
        let api = TestApi::start_with(2, |_| {}).await;
        let (alice, bob) = (api.create_account("alice").await, api.create_account("bob").await);
        let token = code(&api, &alice.did).await;
        let input =
            |did: &str, password: &str, token: &str| json!({ "did": did, "password": password, "token": token });
        let unauthorized = (401, "AuthenticationRequired".to_owned(), "Invalid did or password".to_owned());
        for (did, password) in [(alice.did.as_str(), "wrong"), (&alice.did, ""), ("did:plc:nobody", PASSWORD)] {
            let reply = delete(&api, 0, &input(did, password, &token)).await;
            assert_eq!(reply.error_with_message(), unauthorized, "{did}");
        }
        for wrong in ["", "AAAAA-AAAAA", "x"] {
            let reply = delete(&api, 0, &input(&alice.did, PASSWORD, wrong)).await;
            assert_eq!(reply.error(), (400, "InvalidToken".to_owned()), "{wrong}");
        }
        let reply = delete(&api, 0, &input(&bob.did, PASSWORD, &token)).await;
        assert_eq!(reply.error(), (400, "InvalidToken".to_owned()), "a code is for one account");
        for incomplete in [json!({}), json!({ "did": alice.did, "password": PASSWORD }), json!({ "did": "alice.test" })]
        {
            assert_eq!(delete(&api, 0, &incomplete).await.error(), (400, "InvalidRequest".to_owned()));
        }

        delete(&api, 1, &input(&alice.did, PASSWORD, &token)).await.expect_ok();
        for replica in 0..2 {
            let sign_in = json!({ "identifier": alice.did, "password": PASSWORD });
            let gone = api.call_on(replica, create_session::METHOD).json(&sign_in).send().await;
            assert_eq!(gone.error().0, 401);
            let gone = api.call_on(replica, refresh_session::METHOD).bearer(&alice.refresh).send().await;
            assert!(!gone.status.is_success());
        }
        assert_eq!(delete(&api, 0, &input(&alice.did, PASSWORD, &token)).await.error_with_message(), unauthorized);
    }

    #[tokio::test]
    async fn who_is_taken_down_may_leave() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let token = code(&api, &alice.did).await;
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        let input = json!({ "did": alice.did, "password": PASSWORD, "token": token });
        delete(&api, 0, &input).await.expect_ok();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_deletions_with_one_code_one_succeeds() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        let token = code(&api, &alice.did).await;
        let input = json!({ "did": alice.did, "password": PASSWORD, "token": token });
        let replies = join_all((0..6).map(|turn| delete(&api, turn % 2, &input))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status.is_success()).count(), 1, "{replies:?}");
        assert!(replies.iter().all(|reply| [200, 400, 401].contains(&reply.status.as_u16())), "{replies:?}");
    }
}
