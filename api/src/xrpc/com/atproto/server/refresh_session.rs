//! `com.atproto.server.refreshSession`: exchanging a refresh token.

use axum::extract::State;
use common::account::AccountStatus;

use super::{SessionOutput, SessionView};
use crate::{
    auth::{RefreshAuth, account_taken_down},
    state::AppState,
    xrpc::{Method, NoInput, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.refreshSession");

/// Gives a new pair of tokens. The old refresh token may be used again for a while, and then gives the same one. What the
/// session may do is what the password it was opened with may do: the stored token says so, not the one that was sent.
pub async fn handle(State(app): State<AppState>, auth: RefreshAuth, _: NoInput) -> XrpcResult<SessionOutput> {
    let account = app.accounts.find_by_did(&auth.did).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(|| super::no_user_info(&auth.did))?;
    if account.status == AccountStatus::Takendown {
        return Err(account_taken_down());
    }
    let next = app.sessions.rotate(account.id, &auth.id).await.map_err(XrpcError::internal)?;
    let next = next.ok_or_else(|| XrpcError::bad_request("ExpiredToken", "Token has been revoked"))?;
    Ok(XrpcJson(SessionOutput {
        access_jwt: app.tokens.issue_access(&account.did, next.origin.into())?,
        refresh_jwt: app.tokens.issue_refresh(&account.did, &next.token)?,
        view: SessionView::new(&app, account).await,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use common::{
        session::{REFRESH_GRACE, REFRESH_LIFETIME},
        testing::seed,
    };
    use futures_util::future::join_all;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;

    const SECOND: Duration = Duration::from_secs(1);

    fn claims(token: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
    }

    async fn refresh(api: &TestApi, token: &str) -> Value {
        api.call(METHOD).bearer(token).send().await.expect_ok()
    }

    async fn refusal(api: &TestApi, token: &str) -> (u16, String, String) {
        api.call(METHOD).bearer(token).send().await.error_with_message()
    }

    #[tokio::test]
    async fn a_refresh_gives_new_tokens_and_says_whose() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        api.clock.advance(SECOND);
        let output = refresh(&api, &alice.refresh).await;
        assert_eq!((&output["did"], &output["handle"]), (&json!(alice.did), &json!("alice.test")));
        assert_eq!((&output["active"], &output["email"]), (&json!(true), &json!("alice@mail.test")));
        let (old, new) = (claims(&alice.refresh), claims(output["refreshJwt"].as_str().unwrap()));
        assert_ne!(old["jti"], new["jti"]);
        assert_eq!(old["exp"].as_i64().unwrap() + 1, new["exp"].as_i64().unwrap());
        assert_eq!(claims(output["accessJwt"].as_str().unwrap())["scope"], "com.atproto.access");
    }

    #[tokio::test]
    async fn within_the_grace_period_the_same_token_comes_back() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let first = claims(refresh(&api, &alice.refresh).await["refreshJwt"].as_str().unwrap());
        api.clock.advance(REFRESH_GRACE.saturating_sub(SECOND));
        let again = claims(refresh(&api, &alice.refresh).await["refreshJwt"].as_str().unwrap());
        assert_eq!(first["jti"], again["jti"]);
        assert!(first["exp"].as_i64() < again["exp"].as_i64());
        api.clock.advance(SECOND);
        let revoked = (400, "ExpiredToken".to_owned(), "Token has been revoked".to_owned());
        assert_eq!(refusal(&api, &alice.refresh).await, revoked);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn replicas_asked_at_once_give_the_same_token() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        let calls = (0..8).map(|turn| api.call_on(turn % 2, METHOD).bearer(&alice.refresh).send());
        let ids =
            join_all(calls).await.into_iter().map(|reply| claims(reply.expect_ok()["refreshJwt"].as_str().unwrap()));
        let ids: Vec<Value> = ids.map(|claims| claims["jti"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[tokio::test]
    async fn the_session_of_an_app_password_stays_one() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        for (name, privileged, scope) in
            [("phone", false, "com.atproto.appPass"), ("chat", true, "com.atproto.appPassPrivileged")]
        {
            let create = api.call(super::super::create_app_password::METHOD).bearer(&alice.access);
            let input = json!({ "name": name, "privileged": privileged });
            let made = create.json(&input).send().await.expect_ok();
            let input = json!({ "identifier": "alice.test", "password": made["password"] });
            let mut session = api.call(super::super::create_session::METHOD).json(&input).send().await.expect_ok();
            // Twice, so that one of the tokens comes from a rotation; and again within the grace period.
            let first = session["refreshJwt"].as_str().unwrap().to_owned();
            for token in [None, None, Some(first)] {
                let token = token.unwrap_or_else(|| session["refreshJwt"].as_str().unwrap().to_owned());
                session = refresh(&api, &token).await;
                assert_eq!(claims(session["accessJwt"].as_str().unwrap())["scope"], scope);
            }
        }
    }

    #[tokio::test]
    async fn every_refusal_has_its_status_and_name() {
        let api = TestApi::start().await;
        let (alice, bob) = (api.create_account("alice").await, api.create_account("bob").await);
        let missing = api.call(METHOD).send().await;
        assert_eq!(missing.error(), (401, "AuthMissing".to_owned()));
        assert_eq!(missing.headers["cache-control"], "private");
        assert_eq!(missing.headers["vary"], "authorization");
        let basic = api.call(METHOD).header("authorization", "Basic YWRtaW46eA==").send().await;
        assert_eq!(basic.error(), (400, "InvalidToken".to_owned()));
        let invalid = (400, "InvalidToken".to_owned(), "Token could not be verified".to_owned());
        assert_eq!(refusal(&api, &alice.access).await, invalid);
        // The other server would sign with another secret; here only the audience is another.
        let elsewhere =
            TestApi::start_with(1, |config| config.service.did = "did:web:other.test".parse().unwrap()).await;
        assert_eq!(refusal(&elsewhere, &alice.refresh).await, invalid);

        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        let taken_down = (401, "AccountTakedown".to_owned(), "Account has been taken down".to_owned());
        assert_eq!(refusal(&api, &alice.refresh).await, taken_down);
        seed::set_deactivated(&api.db.pool(), &bob.did, true).await;
        assert_eq!(refresh(&api, &bob.refresh).await["status"], "deactivated");

        seed::delete_account(&api.db.pool(), &alice.did).await;
        let gone = format!("Could not find user info for account: {}", alice.did);
        assert_eq!(refusal(&api, &alice.refresh).await, (400, "InvalidRequest".to_owned(), gone));
        api.clock.advance(REFRESH_LIFETIME);
        let expired = (400, "ExpiredToken".to_owned(), "Token has expired".to_owned());
        assert_eq!(refusal(&api, &bob.refresh).await, expired);
    }

    #[tokio::test]
    async fn input_is_not_expected() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let reply = api.call(METHOD).bearer(&alice.refresh).json(&json!({})).send().await;
        assert_eq!(reply.error(), (400, "InvalidRequest".to_owned()));
    }
}
