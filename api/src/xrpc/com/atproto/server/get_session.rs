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
    use common::{session::ACCESS_LIFETIME, testing::seed};
    use serde_json::json;

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
        assert_eq!(refusal("abc").await, (400, "InvalidToken".to_owned()));
        assert_eq!(refusal(&alice.refresh).await, (400, "InvalidToken".to_owned()));
        api.clock.advance(ACCESS_LIFETIME);
        assert_eq!(refusal(&alice.access).await, (400, "ExpiredToken".to_owned()));
    }
}
