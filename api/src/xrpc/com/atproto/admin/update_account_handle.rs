//! `com.atproto.admin.updateAccountHandle`: gives an account a handle, also one that is kept back.

use atproto::syntax::Did;
use axum::extract::State;
use common::admin::Administration;
use common::audit::Actor;
use common::lifecycle::UpdateHandleError;
use serde::Deserialize;

use super::account_not_found;
use crate::auth::AdminAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.updateAccountHandle");

/// Whose, and which.
#[derive(Deserialize)]
pub struct Input {
    did: Did,
    handle: String,
}

/// Not for accounts that were taken down.
pub async fn handle(
    State(admin): State<Administration>,
    _auth: AdminAuth,
    XrpcBody(Input { did, handle }): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    match admin.update_handle(&Actor::Admin, &did, &handle).await {
        Err(UpdateHandleError::NotFound) => Err(account_not_found()),
        result => Ok(result.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::com::atproto::identity::resolve_handle;

    #[tokio::test]
    async fn the_operator_gives_names_that_are_kept_back_too() {
        let api = TestApi::start().await;
        let (alice, bob) = (api.create_account("alice").await, api.create_account("bob").await);
        let update = async |did: &str, handle: &str| {
            api.call(METHOD).admin().json(&json!({ "did": did, "handle": handle })).send().await
        };
        let owner = async |handle: &str| -> Value {
            let found = api.call(resolve_handle::METHOD).query(&[("handle", handle)]).send().await;
            serde_json::from_str::<Value>(&found.text).unwrap()["did"].take()
        };
        update(&alice.did, "admin.test").await.expect_ok();
        assert_eq!((owner("admin.test").await, owner("alice.test").await), (json!(alice.did), Value::Null));
        let state = api.plc.state(&alice.did.parse().unwrap()).unwrap();
        assert_eq!(state.also_known_as, ["at://admin.test"]);
        for (did, handle, error) in [
            (&alice.did, "bob.test", "HandleNotAvailable"),
            (&alice.did, "a.test", "InvalidHandle"),
            (&alice.did, "not a handle", "InvalidRequest"),
            (&"did:plc:unknown".to_owned(), "carol.test", "InvalidRequest"),
        ] {
            assert_eq!(update(did, handle).await.error(), (400, error.to_owned()), "{handle}");
        }
        seed::set_taken_down(&api.db.pool(), &bob.did, true).await;
        assert_eq!(update(&bob.did, "bobby.test").await.error(), (400, "InvalidRequest".to_owned()));
        assert_eq!(owner("admin.test").await, json!(alice.did));
    }
}
