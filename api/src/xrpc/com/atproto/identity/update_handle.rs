//! `com.atproto.identity.updateHandle`: another name for an account.

use axum::extract::State;
use common::lifecycle::{HandleGiver, Lifecycle, UpdateHandleError};
use serde::Deserialize;

use crate::{
    auth::{AccessAuth, Checked, account_not_found},
    xrpc::{Method, XrpcBody, XrpcError},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.identity.updateHandle");

/// The new name.
#[derive(Deserialize)]
pub struct Input {
    handle: String,
}

/// Below a domain of this server's, or a name of the caller's own that resolves to their DID. Apps may do this too.
pub async fn handle(
    State(lifecycle): State<Lifecycle>,
    caller: Checked<AccessAuth>,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    lifecycle.update_handle(&caller.account.did, &input.handle, HandleGiver::Owner).await?;
    Ok(())
}

impl From<UpdateHandleError> for XrpcError {
    fn from(error: UpdateHandleError) -> Self {
        match error {
            UpdateHandleError::NotFound => account_not_found(),
            UpdateHandleError::Handle(refusal) => refusal.into(),
            UpdateHandleError::Taken(_) => Self::bad_request("HandleNotAvailable", error),
            UpdateHandleError::Unresolved
            | UpdateHandleError::Unnamed
            | UpdateHandleError::Busy
            | UpdateHandleError::Unregistered => Self::invalid_request(error),
            UpdateHandleError::Document(error) => {
                tracing::debug!(error = &*error as &dyn std::error::Error, "no document of a did:web");
                Self::invalid_request("Could not resolve DID")
            }
            UpdateHandleError::Plc(error) => error.into(),
            UpdateHandleError::RotationKey(error) => error.into(),
            UpdateHandleError::Operation(_) | UpdateHandleError::Storage(_) | UpdateHandleError::Interrupted => {
                Self::internal(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{TestAccount, TestApi};
    use crate::xrpc::com::atproto::{identity::resolve_handle, server::get_session};

    async fn rename(api: &TestApi, account: &TestAccount, handle: impl Into<Value>) -> Result<(), (u16, String)> {
        let input = json!({ "handle": handle.into() });
        let reply = api.call(METHOD).bearer(&account.access).json(&input).send().await;
        if reply.status.is_success() { Ok(()) } else { Err(reply.error()) }
    }

    #[tokio::test]
    async fn a_new_name_is_known_on_all_replicas() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        rename(&api, &alice, "Alice-Two.test").await.unwrap();
        for replica in 0..2 {
            let session = api.call_on(replica, get_session::METHOD).bearer(&alice.access).send().await.expect_ok();
            assert_eq!(session["handle"], "alice-two.test");
            let resolve = |handle| api.call_on(replica, resolve_handle::METHOD).query(&[("handle", handle)]).send();
            assert_eq!(resolve("alice-two.test").await.expect_ok()["did"], alice.did);
            assert_eq!(resolve("alice.test").await.error().0, 400);
        }
        assert_eq!(api.plc.state(&alice.did.parse().unwrap()).unwrap().also_known_as, ["at://alice-two.test"]);
    }

    #[tokio::test]
    async fn every_refusal_has_its_name() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        api.create_account("bob").await;
        for (handle, name) in [
            (json!("alice.onion"), "InvalidHandle"),
            (json!("al.test"), "InvalidHandle"),
            (json!("a.b.test"), "InvalidHandle"),
            (json!("admin.test"), "HandleNotAvailable"),
            (json!("bob.test"), "HandleNotAvailable"),
            (json!("al_ice.test"), "InvalidRequest"),
            (json!("alice.example.com"), "InvalidRequest"),
            (json!(""), "InvalidRequest"),
            (Value::Null, "InvalidRequest"),
        ] {
            assert_eq!(rename(&api, &alice, handle.clone()).await, Err((400, name.to_owned())), "{handle}");
        }
        api.plc.set_down(true);
        assert_eq!(rename(&api, &alice, "new-name.test").await, Err((502, "UpstreamFailure".to_owned())));
        api.plc.set_down(false);
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        rename(&api, &alice, "new-name.test").await.unwrap();
        seed::set_taken_down(&api.db.pool(), &alice.did, true).await;
        assert_eq!(rename(&api, &alice, "newer.test").await, Err((401, "AccountTakedown".to_owned())));
        seed::delete_account(&api.db.pool(), &alice.did).await;
        assert_eq!(rename(&api, &alice, "newer.test").await, Err((403, "AccountNotFound".to_owned())));
    }
}
