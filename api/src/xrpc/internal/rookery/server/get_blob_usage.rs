//! `internal.rookery.server.getBlobUsage`: how many blobs the caller has, and may have.

use axum::extract::State;
use common::account::Accounts;
use common::blob::Blobs;
use serde::Serialize;

use crate::auth::{AccessAuth, account_not_found};
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("internal.rookery.server.getBlobUsage");

/// What is there, referred to or not, and its limits.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    bytes: u64,
    count: u64,
    /// No limit if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_count: Option<u64>,
}

/// For every session, so that an app can show it where pictures are chosen.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(blobs): State<Blobs>,
    auth: AccessAuth,
) -> XrpcResult<Output> {
    let account = accounts.find_by_did(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(account_not_found)?;
    let usage = blobs.quotas().usage(account.id).await.map_err(XrpcError::internal)?;
    let quota = blobs.quotas().find(account.id).await.map_err(XrpcError::internal)?;
    Ok(XrpcJson(Output { bytes: usage.bytes, count: usage.count, max_bytes: quota.bytes, max_count: quota.count }))
}

#[cfg(test)]
mod tests {
    use common::audit::Actor;
    use common::config::BlobQuota;
    use serde_json::json;

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::com::atproto::repo::upload_blob;

    #[tokio::test]
    async fn users_see_what_they_have_and_may_have() {
        let api = TestApi::start_with(2, |config| config.blob.quota.count = Some(2)).await;
        let alice = api.create_account("alice").await;
        let usage = async || api.call(METHOD).bearer(&alice.access).send().await.expect_ok();
        let upload = async |bytes: &'static str| {
            api.call(upload_blob::METHOD).bearer(&alice.access).bytes("text/plain", bytes).send().await
        };
        assert_eq!(usage().await, json!({ "bytes": 0, "count": 0, "maxCount": 2 }));
        for bytes in ["one", "two!", "two!"] {
            upload(bytes).await.expect_ok();
        }
        assert_eq!(usage().await, json!({ "bytes": 7, "count": 2, "maxCount": 2 }));
        let message = "Storage quota exceeded: 2 of 2 blobs are there";
        assert_eq!(
            upload("three").await.error_with_message(),
            (400, "BlobQuotaExceeded".to_owned(), message.to_owned())
        );

        let own = Some(BlobQuota { bytes: Some(1000), count: None });
        let did = alice.did.parse().unwrap();
        assert!(api.app().blobs.quotas().set(&Actor::Admin, &did, own).await.unwrap());
        upload("three").await.expect_ok();
        assert_eq!(usage().await, json!({ "bytes": 12, "count": 3, "maxBytes": 1000 }));
        assert_eq!(api.call(METHOD).send().await.error(), (401, "AuthMissing".to_owned()));
    }
}
