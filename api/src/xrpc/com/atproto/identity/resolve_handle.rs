//! `com.atproto.identity.resolveHandle`: which DID a handle stands for.

use atproto::syntax::{Did, Handle};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{Error, Freshness, find_did};
use crate::state::AppState;
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.identity.resolveHandle");

/// Which handle.
#[derive(Deserialize)]
pub struct Params {
    handle: Handle,
}

/// Its DID.
#[derive(Serialize)]
pub struct Output {
    did: Did,
}

/// Knows the handles of this server's active accounts, and asks around for the rest.
pub async fn handle(
    State(app): State<AppState>,
    XrpcQuery(Params { handle }): XrpcQuery<Params>,
) -> XrpcResult<Output> {
    match find_did(&app, &handle, Freshness::Cached).await? {
        Some(did) => Ok(XrpcJson(Output { did })),
        None if app.lifecycle.handles().is_service_handle(&handle) => Err(Error::HandleNotFound.into()),
        // Reference: without the name, where others might have known it.
        None => Err(XrpcError::invalid_request(Error::HandleNotFound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestApi;

    #[tokio::test]
    async fn handles_of_active_accounts_are_known() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        let resolve = async |handle: &str| api.call(METHOD).query(&[("handle", handle)]).send().await;
        assert_eq!(resolve("Alice.test").await.expect_ok(), serde_json::json!({ "did": alice.did }));
        let unknown = (400, "HandleNotFound".to_owned(), "Unable to resolve handle".to_owned());
        assert_eq!(resolve("bob.test").await.error_with_message(), unknown);
        assert_eq!(resolve("alice").await.error(), (400, "InvalidRequest".to_owned()));
        common::testing::seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        assert_eq!(resolve("alice.test").await.error_with_message(), unknown);
    }

    #[tokio::test]
    async fn other_handles_that_nobody_knows_have_another_error() {
        let api = TestApi::start_with(1, |config| config.identity.resolver_timeout = std::time::Duration::ZERO).await;
        let reply = api.call(METHOD).query(&[("handle", "alice.invalid")]).send().await;
        let expected = (400, "InvalidRequest".to_owned(), "Unable to resolve handle".to_owned());
        assert_eq!(reply.error_with_message(), expected);
    }
}
