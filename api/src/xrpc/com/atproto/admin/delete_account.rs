//! `com.atproto.admin.deleteAccount`: deletes an account, for good.

use atproto::syntax::Did;
use axum::extract::State;
use common::admin::Administration;
use common::audit::Actor;
use serde::Deserialize;

use crate::auth::AdminAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.deleteAccount");

/// Which account.
#[derive(Deserialize)]
pub struct Input {
    did: Did,
}

/// Does nothing for an account that is not here.
///
/// Reference: it announces the deletion of any DID.
pub async fn handle(
    State(admin): State<Administration>,
    _auth: AdminAuth,
    XrpcBody(Input { did }): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    admin.delete(&Actor::Admin, &did).await.map_err(XrpcError::internal)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::get_account_info;
    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::internal::rookery::admin::list_audit_log;

    #[tokio::test]
    async fn a_deleted_account_is_gone_and_only_the_log_knows_it() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        let delete = async |did: &str| api.call(METHOD).admin().json(&json!({ "did": did })).send().await;
        let refused = api.call(METHOD).bearer(&alice.access).json(&json!({ "did": alice.did })).send().await;
        assert_eq!(refused.error(), (401, "AuthenticationRequired".to_owned()));
        let newest = api.app().sequencer.newest().await.unwrap();
        delete(&alice.did).await.expect_ok();
        let info = api.call_on(1, get_account_info::METHOD).admin().query(&[("did", &alice.did)]).send().await;
        assert_eq!(info.error(), (400, "NotFound".to_owned()));
        assert_eq!(api.app().sequencer.newest().await.unwrap(), newest + 1);
        delete(&alice.did).await.expect_ok();
        delete("did:plc:unknown").await.expect_ok();
        assert_eq!(delete("alice").await.error(), (400, "InvalidRequest".to_owned()));
        assert_eq!(api.app().sequencer.newest().await.unwrap(), newest + 1, "nothing to announce");
        let log = api.call(list_audit_log::METHOD).admin().query(&[("subject", &alice.did)]).send().await.expect_ok();
        assert_eq!(log["entries"].as_array().unwrap().len(), 1);
        assert_eq!(log["entries"][0]["before"]["handle"], json!("alice.test"));
    }
}
