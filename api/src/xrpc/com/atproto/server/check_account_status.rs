//! `com.atproto.server.checkAccountStatus`: how far an account's move to this server has come.

use atproto::{data::Cid, syntax::Tid};
use axum::extract::State;
use serde::Serialize;

use crate::{
    auth::{AccessAuth, account_not_found},
    state::AppState,
    xrpc::{Method, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.server.checkAccountStatus");

/// What is here of the account.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Whether it is open, or at least not closed by its owner.
    activated: bool,
    /// Whether activateAccount would go through.
    valid_did: bool,
    repo_commit: Cid,
    repo_rev: Tid,
    /// Blocks of the repo: records, tree and commit.
    repo_blocks: i64,
    indexed_records: i64,
    /// Always 0: there are no such values.
    private_state_values: i64,
    /// Blobs that records refer to.
    expected_blobs: i64,
    /// Blobs that are here.
    imported_blobs: i64,
}

/// Asks for the DID's document anew each time: its owner is about to change it.
pub async fn handle(State(app): State<AppState>, auth: AccessAuth) -> XrpcResult<Output> {
    let account = app.accounts.find_by_did(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(account_not_found)?;
    let repo = app.repos.find(&account.did).await.map_err(XrpcError::internal)?.ok_or_else(account_not_found)?;
    let counts = app.repos.count(account.id).await.map_err(XrpcError::internal)?;
    let blobs = app.blobs.count(account.id).await.map_err(XrpcError::internal)?;
    let valid_did = match app.lifecycle.check_standing(account.id, &account.did).await {
        Ok(()) => true,
        Err(error) if error.is_verdict() => false,
        Err(error) => return Err(error.into()),
    };
    Ok(XrpcJson(Output {
        activated: account.status.is_active(),
        valid_did,
        repo_commit: repo.head,
        repo_rev: repo.rev,
        repo_blocks: counts.blocks,
        indexed_records: counts.records,
        private_state_values: 0,
        expected_blobs: blobs.expected,
        imported_blobs: blobs.present,
    }))
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;
    use atproto::identity::plc::UnsignedOperation;
    use common::testing::seed;
    use serde_json::json;

    use super::*;
    use crate::testing::TestApi;
    use crate::xrpc::com::atproto::{repo::create_record, sync::get_latest_commit};

    #[tokio::test]
    async fn it_counts_what_is_there_on_every_replica() {
        let api = TestApi::start_with(2, |_| {}).await;
        let alice = api.create_account("alice").await;
        let blob = seed::blob(&api.db.pool(), &alice.did, b"picture").await;
        seed::blob(&api.db.pool(), &alice.did, b"unused").await;
        let picture = json!({ "$type": "blob", "ref": { "$link": blob }, "mimeType": "image/png", "size": 7 });
        // Two of them are alike.
        for record in [json!({ "n": 1 }), json!({ "n": 1 }), json!({ "picture": picture })] {
            let input = json!({ "repo": alice.did, "collection": "com.example.thing", "record": record });
            api.call(create_record::METHOD).bearer(&alice.access).json(&input).send().await.expect_ok();
        }
        let latest = api.call(get_latest_commit::METHOD).query(&[("did", &alice.did)]).send().await.expect_ok();
        for replica in 0..2 {
            let status = api.call_on(replica, METHOD).bearer(&alice.access).send().await.expect_ok();
            let blocks = status["repoBlocks"].as_i64().unwrap();
            assert!(blocks >= 1 + 1 + 2, "a commit, a node, two records: {blocks}");
            let expected = json!({
                "activated": true, "validDid": true, "repoCommit": latest["cid"], "repoRev": latest["rev"],
                "repoBlocks": blocks, "indexedRecords": 3, "privateStateValues": 0, "expectedBlobs": 1,
                "importedBlobs": 2
            });
            assert_eq!(status, expected);
        }
    }

    #[tokio::test]
    async fn it_says_what_activation_would() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await;
        seed::set_deactivated(&api.db.pool(), &alice.did, true).await;
        let did = alice.did.parse().unwrap();
        let mut state = api.plc.state(&did).unwrap();
        state.services.clear();
        let prev = Some(api.plc.operations(&did).last().unwrap().cid().unwrap());
        let key = SigningKey::from_bytes(&[1; 32]).unwrap();
        api.plc.submit(&did, UnsignedOperation::Update { state, prev }.sign(&key).unwrap());
        let status = api.call(METHOD).bearer(&alice.access).send().await.expect_ok();
        assert_eq!((&status["activated"], &status["validDid"]), (&json!(false), &json!(false)));
        api.plc.set_down(true);
        let unknown = api.call(METHOD).bearer(&alice.access).send().await;
        assert_eq!(unknown.error(), (502, "UpstreamFailure".to_owned()), "not known is not invalid");
        api.plc.set_down(false);
        seed::delete_account(&api.db.pool(), &alice.did).await;
        let gone = api.call(METHOD).bearer(&alice.access).send().await;
        assert_eq!(gone.error(), (403, "AccountNotFound".to_owned()));
    }
}
