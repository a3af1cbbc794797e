//! `com.atproto.server.getSession`: whose session this is.

use axum::extract::State;
use common::account::AccountStatus;

use super::SessionView;
use crate::{
    auth::AccessAuth,
    state::AppState,
    xrpc::{Method, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.server.getSession");

/// Answers for deactivated accounts too; one that was taken down looks as if it were gone.
pub async fn handle(State(app): State<AppState>, auth: AccessAuth) -> XrpcResult<SessionView> {
    let account = app.accounts.find_by_did(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.filter(|account| account.status != AccountStatus::Takendown);
    let account = account.ok_or_else(|| super::no_user_info(auth.did()))?;
    Ok(XrpcJson(SessionView::new(&app, account).await))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use common::{session::ACCESS_LIFETIME, testing::seed};
    use jsonwebtoken::{Algorithm, EncodingKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn a_session_says_whose_it_is() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        let expected = json!({
            "did": alice.did, "handle": "alice.test", "email": "alice@mail.test", "emailConfirmed": false, "active": true
        });
        for replica in 0..2 {
            assert_eq!(api.call_on(replica, METHOD).bearer(&alice.access).send().await.expect_ok(), expected);
        }
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        let output = api.call(METHOD).bearer(&alice.access).send().await.expect_ok();
        assert_eq!((&output["active"], &output["status"]), (&json!(false), &json!("deactivated")));
    }

    #[tokio::test]
    async fn a_taken_down_account_is_not_to_be_seen() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        let message = format!("Could not find user info for account: {}", alice.did);
        let reply = api.call(METHOD).bearer(&alice.access).send().await;
        assert_eq!(reply.error_with_message(), (400, "InvalidRequest".to_owned(), message));
    }

    #[tokio::test]
    async fn a_bad_token_is_a_bad_request() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let refusal = async |token: &str| api.call(METHOD).bearer(token).send().await.error();
        assert_eq!(api.call(METHOD).send().await.error(), (401, "AuthMissing".to_owned()));
        let bad = |name: &str| (400, name.to_owned());
        assert_eq!(refusal("abc").await, bad("InvalidToken"));
        assert_eq!(refusal(&alice.refresh).await, bad("InvalidToken"));
        api.clock.advance(ACCESS_LIFETIME);
        assert_eq!(refusal(&alice.access).await, bad("ExpiredToken"));
    }

    /// A token with any header, claims and secret, signed with HS256 whatever the header says.
    fn forge(header: &Value, claims: &Value, secret: &str) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let key = EncodingKey::from_secret(secret.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[tokio::test]
    async fn a_forged_token_is_not_accepted() {
        const SECRET: &str = "test-jwt-secret";
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let now = api.clock.now().timestamp();
        let header = json!({ "typ": "at+jwt", "alg": "HS256" });
        let claims = json!({
            "scope": "com.atproto.access", "aud": "did:web:localhost", "sub": alice.did, "iat": now, "exp": now + 1
        });
        let with = |json: &Value, name: &str, value: &str| {
            let mut changed = json.clone();
            changed[name] = json!(value);
            changed
        };
        let genuine = forge(&header, &claims, SECRET);
        api.call(METHOD).bearer(&genuine).send().await.expect_ok();
        let message = genuine.rsplit_once('.').unwrap().0;
        for (what, token) in [
            ("without signature", format!("{message}.")),
            ("other secret", forge(&header, &claims, "guess")),
            ("alg none", forge(&with(&header, "alg", "none"), &claims, SECRET)),
            ("alg HS512", forge(&with(&header, "alg", "HS512"), &claims, SECRET)),
            ("typ JWT", forge(&with(&header, "typ", "JWT"), &claims, SECRET)),
            ("typ of a refresh token", forge(&with(&header, "typ", "refresh+jwt"), &claims, SECRET)),
            ("other aud", forge(&header, &with(&claims, "aud", "did:web:other.test"), SECRET)),
            ("unknown scope", forge(&header, &with(&claims, "scope", "com.atproto.all"), SECRET)),
            ("scope of a refresh token", forge(&header, &with(&claims, "scope", "com.atproto.refresh"), SECRET)),
            ("service token", forge(&header, &with(&claims, "lxm", METHOD.nsid()), SECRET)),
            ("key-bound token", forge(&header, &with(&claims, "cnf", "x"), SECRET)),
        ] {
            let reply = api.call(METHOD).bearer(&token).send().await;
            assert_eq!(reply.error(), (400, "InvalidToken".to_owned()), "{what}");
        }
    }
}
