//! `com.atproto.repo.listMissingBlobs`: what is left to upload after an import.

use atproto::data::Cid;
use atproto::syntax::AtUri;
use axum::extract::State;
use common::account::Accounts;
use common::blob::Blobs;
use serde::{Deserialize, Serialize};

use crate::auth::AccessAuth;
use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.repo.listMissingBlobs");

/// Which page.
#[derive(Deserialize)]
pub struct Params {
    #[serde(default)]
    limit: Limit<1, 1000, 500>,
    /// The last CID of the page before.
    cursor: Option<Cid>,
}

/// A page.
#[derive(Serialize)]
pub struct Output {
    /// There on every page that is not empty: the end is an empty page.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cid>,
    blobs: Vec<RecordBlob>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordBlob {
    cid: Cid,
    /// One of the records that refer to it.
    record_uri: AtUri,
}

/// Answers for the caller's own repo, in whatever state.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(blobs): State<Blobs>,
    XrpcQuery(Params { limit, cursor }): XrpcQuery<Params>,
    auth: AccessAuth,
) -> XrpcResult<Output> {
    let account = accounts.find_principal(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(|| XrpcError::forbidden("AccountNotFound", "Account not found"))?;
    let missing = blobs.list_missing(account.id, cursor, limit.get()).await.map_err(XrpcError::internal)?;
    let cursor = missing.last().map(|reference| reference.cid);
    let blobs = missing.into_iter().map(|reference| RecordBlob {
        cid: reference.cid,
        record_uri: AtUri::record(&account.did, &reference.collection, &reference.rkey),
    });
    Ok(XrpcJson(Output { cursor, blobs: blobs.collect() }))
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use serde_json::{Value, json};

    use super::*;
    use crate::xrpc::sync_scene::{COLLECTION, Scene};

    async fn page(scene: &Scene, params: &[(&str, &str)]) -> (Vec<Value>, Option<String>) {
        let call = scene.api.call(METHOD).bearer(&scene.alice.access).query(params);
        let page = call.send().await.expect_ok();
        (page["blobs"].as_array().unwrap().clone(), page["cursor"].as_str().map(str::to_owned))
    }

    #[tokio::test]
    async fn what_records_refer_to_and_nobody_uploaded_is_listed() {
        let scene = Scene::start().await;
        assert_eq!(page(&scene, &[]).await, (vec![], None));
        let mut cids = Vec::new();
        for n in 0..5_u8 {
            cids.push(scene.upload(&[n]).await);
        }
        scene.write(&json!([Scene::showing("a", &cids), Scene::showing("b", &cids[..1])])).await;
        assert_eq!(page(&scene, &[]).await, (vec![], None), "all are there");
        for cid in &cids[..3] {
            seed::lose_blob(&scene.api.db.pool(), &scene.alice.did, *cid).await;
        }
        let mut missing = cids[..3].to_vec();
        missing.sort();
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let mut params = vec![("limit", "2")];
            params.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (found, next) = page(&scene, &params).await;
            assert!(found.len() <= 2);
            listed.extend(found);
            let Some(next) = next else { break };
            cursor = Some(next);
        }
        let uri = format!("at://{}/{COLLECTION}/a", scene.alice.did);
        let expected = missing.iter().map(|cid| json!({ "cid": cid.to_string(), "recordUri": uri }));
        assert_eq!(listed, expected.collect::<Vec<_>>());

        scene.set_deactivated(true).await;
        assert_eq!(page(&scene, &[]).await.0.len(), 3, "who moves in is not active yet");
        scene.upload(&[0]).await;
        assert_eq!(page(&scene, &[]).await.0.len(), 2);
    }

    #[tokio::test]
    async fn strangers_and_wrong_parameters_are_refused() {
        let scene = Scene::start().await;
        let reply = scene.api.call(METHOD).send().await;
        assert_eq!(reply.error(), (401, "AuthMissing".to_owned()));
        for param in [("cursor", "1"), ("limit", "0"), ("limit", "1001")] {
            let reply = scene.api.call(METHOD).bearer(&scene.alice.access).query(&[param]).send().await;
            assert_eq!(reply.error(), (400, "InvalidRequest".to_owned()), "{param:?}");
        }
        seed::delete_account(&scene.api.db.pool(), &scene.alice.did).await;
        let reply = scene.api.call(METHOD).bearer(&scene.alice.access).send().await;
        assert_eq!(reply.error(), (403, "AccountNotFound".to_owned()));
    }
}
