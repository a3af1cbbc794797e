//! `com.atproto.admin.updateAccountPassword`: gives an account another main password.

use atproto::syntax::Did;
use axum::extract::State;
use common::admin::Administration;
use common::audit::Actor;
use common::lifecycle::SetPasswordError;
use secrecy::SecretString;
use serde::Deserialize;

use super::account_not_found;
use crate::auth::AdminAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.updateAccountPassword");

/// Whose, and which.
#[derive(Deserialize)]
pub struct Input {
    did: Did,
    password: SecretString,
}

/// Ends the account's sessions.
pub async fn handle(
    State(admin): State<Administration>,
    _auth: AdminAuth,
    XrpcBody(Input { did, password }): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    match admin.update_password(&Actor::Admin, &did, password).await {
        Err(SetPasswordError::AccountNotFound) => Err(account_not_found()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::com::atproto::server::{create_session, refresh_session};
    use crate::xrpc::internal::rookery::admin::list_audit_log;

    #[tokio::test]
    async fn the_new_password_opens_the_account_and_old_sessions_end() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let update = async |input: Value| api.call(METHOD).admin().json(&input).send().await;
        let sign_in = async |password: &str| {
            let input = json!({ "identifier": "alice.test", "password": password });
            api.call(create_session::METHOD).json(&input).send().await.status.as_u16()
        };
        update(json!({ "did": alice.did, "password": "battery staple" })).await.expect_ok();
        assert_eq!((sign_in(crate::testing::PASSWORD).await, sign_in("battery staple").await), (401, 200));
        let refreshed = api.call(refresh_session::METHOD).bearer(&alice.refresh).send().await;
        assert_eq!(refreshed.error(), (400, "ExpiredToken".to_owned()));
        for input in [
            json!({ "did": alice.did, "password": "" }),
            json!({ "did": alice.did, "password": "x".repeat(257) }),
            json!({ "did": "did:plc:unknown", "password": "x" }),
            json!({ "did": "alice.test", "password": "x" }),
        ] {
            assert_eq!(update(input.clone()).await.error(), (400, "InvalidRequest".to_owned()), "{input}");
        }
        assert_eq!(sign_in("battery staple").await, 200);
        let log = api.call(list_audit_log::METHOD).admin().send().await;
        assert!(!log.text.contains("battery staple"));
        assert_eq!(log.expect_ok()["entries"][0]["action"], json!("account.update_password"));
    }
}
