//! `com.atproto.sync.listBlobs`: the blobs that a repo's records refer to.

use atproto::data::Cid;
use atproto::syntax::{Did, Tid};
use axum::extract::State;
use common::blob::Blobs;
use common::repo::Repos;
use serde::{Deserialize, Serialize};

use super::readable;
use crate::auth::TakeoutAuth;
use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.listBlobs");

/// Which page of which repo's.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
    /// Only blobs of records written after this rev.
    since: Option<Tid>,
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
    cids: Vec<Cid>,
}

/// Answers each blob once, whether it was uploaded or not, and also if it is taken down.
///
/// Reference: orders them by the text of their CIDs; here they come in the order of the bytes.
pub async fn handle(
    State(repos): State<Repos>,
    State(blobs): State<Blobs>,
    XrpcQuery(Params { did, since, limit, cursor }): XrpcQuery<Params>,
    TakeoutAuth(reader): TakeoutAuth,
) -> XrpcResult<Output> {
    let repo = readable(&repos, &reader, did).await?;
    let cids = blobs.list_referenced(repo.account, since, cursor, limit.get()).await.map_err(XrpcError::internal)?;
    Ok(XrpcJson(Output { cursor: cids.last().copied(), cids }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::xrpc::sync_scene::Scene;

    async fn page(scene: &Scene, params: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
        let page = scene.query(METHOD, params).await.expect_ok();
        let cids = page["cids"].as_array().unwrap().iter().map(|cid| cid.as_str().unwrap().to_owned());
        (cids.collect(), page["cursor"].as_str().map(str::to_owned))
    }

    #[tokio::test]
    async fn pages_have_each_blob_once() {
        let scene = Scene::start().await;
        assert_eq!(page(&scene, &[]).await, (vec![], None));
        let mut cids = Vec::new();
        for n in 0..5_u8 {
            cids.push(scene.upload(&[n]).await);
        }
        scene.write(&json!([Scene::showing("a", &cids[..3]), Scene::showing("b", &cids[2..])])).await;
        cids.sort();
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
        assert_eq!(listed, cids.iter().map(ToString::to_string).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn since_leaves_out_blobs_of_older_records() {
        let scene = Scene::start().await;
        let (old, new) = (scene.upload(b"o").await, scene.upload(b"n").await);
        let rev = scene.write(&json!([Scene::showing("a", &[old])])).await["commit"]["rev"].clone();
        scene.write(&json!([Scene::showing("b", &[new])])).await;
        assert_eq!(page(&scene, &[("since", rev.as_str().unwrap())]).await.0, [new.to_string()]);
        assert_eq!(page(&scene, &[]).await.0.len(), 2);
    }

    #[tokio::test]
    async fn wrong_parameters_are_refused() {
        let scene = Scene::start().await;
        for param in [("since", "yesterday"), ("cursor", "1"), ("limit", "0"), ("limit", "1001")] {
            assert_eq!(scene.query(METHOD, &[param]).await.error(), (400, "InvalidRequest".to_owned()), "{param:?}");
        }
    }
}
