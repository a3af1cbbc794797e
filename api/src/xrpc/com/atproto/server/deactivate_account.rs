//! `com.atproto.server.deactivateAccount`: closes an account, for its owner to open it again here or elsewhere.

use atproto::syntax::Datetime;
use axum::extract::State;
use chrono::DateTime;
use common::lifecycle::{Lifecycle, StatusError};
use serde::Deserialize;

use crate::{
    auth::{FullLeavingAuth, account_not_found},
    xrpc::{Method, XrpcBody, XrpcError, present},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.deactivateAccount");

/// How long the account is worth keeping.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// When it may be deleted; never, if it is left out.
    #[serde(default, deserialize_with = "present")]
    delete_after: Option<Datetime>,
}

/// Sessions live on. A taken-down user may do this too, on the way to another server.
pub async fn handle(
    State(lifecycle): State<Lifecycle>,
    auth: FullLeavingAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    let delete_after = input.delete_after.and_then(|time| DateTime::from_timestamp_millis(time.unix_millis()));
    match lifecycle.deactivate(auth.did(), delete_after).await {
        Ok(_) => Ok(()),
        Err(StatusError::NotFound) => Err(account_not_found()),
        Err(error @ StatusError::Contended) => Err(XrpcError::unavailable(error)),
        Err(error @ (StatusError::Takendown | StatusError::Damaged(_) | StatusError::Storage(_))) => {
            Err(XrpcError::internal(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::json;

    use super::*;
    use crate::auth::AccessScope;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn owners_close_their_accounts_also_when_they_are_taken_down() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let session = |scope| api.app().tokens.issue_access(&alice.did.parse().unwrap(), scope).unwrap();
        let close =
            async |token: &str, input: serde_json::Value| api.call(METHOD).bearer(token).json(&input).send().await;
        for scope in [AccessScope::AppPass, AccessScope::AppPassPrivileged] {
            assert_eq!(close(&session(scope), json!({})).await.error(), (400, "InvalidToken".to_owned()));
        }
        for bad in [json!({ "deleteAfter": "soon" }), json!({ "deleteAfter": null }), json!("now")] {
            assert_eq!(close(&alice.access, bad.clone()).await.error(), (400, "InvalidRequest".to_owned()), "{bad}");
        }
        close(&alice.access, json!({})).await.expect_ok();
        close(&alice.access, json!({ "deleteAfter": "2030-01-01T00:00:00.000Z" })).await.expect_ok();
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        close(&session(AccessScope::Takendown), json!({})).await.expect_ok();
        assert_eq!(api.call(METHOD).json(&json!({})).send().await.error(), (401, "AuthMissing".to_owned()));
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(close(&alice.access, json!({})).await.error(), (403, "AccountNotFound".to_owned()));
    }
}
