//! `com.atproto.sync.getLatestCommit`: CID and rev of a repo's newest commit.

use atproto::data::Cid;
use atproto::syntax::{Did, Tid};
use axum::extract::State;
use common::repo::Repos;
use serde::{Deserialize, Serialize};

use super::readable;
use crate::auth::ReaderAuth;
use crate::xrpc::{Method, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getLatestCommit");

/// Which repo.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
}

/// Where it stands.
#[derive(Serialize)]
pub struct Output {
    cid: Cid,
    rev: Tid,
}

/// Answers from the repo's head.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { did }): XrpcQuery<Params>,
    reader: ReaderAuth,
) -> XrpcResult<Output> {
    let repo = readable(&repos, &reader, did).await?;
    Ok(XrpcJson(Output { cid: repo.head, rev: repo.rev }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::xrpc::sync_scene::{COLLECTION, Scene};

    #[tokio::test]
    async fn the_commit_of_the_last_write_is_the_latest() {
        let scene = Scene::start().await;
        let genesis = scene.query(METHOD, &[]).await.expect_ok();
        let write = json!([{
            "$type": "com.atproto.repo.applyWrites#create", "collection": COLLECTION, "rkey": "a", "value": {}
        }]);
        let written = scene.write(&write).await;
        let latest = scene.query(METHOD, &[]).await.expect_ok();
        assert_eq!(latest, written["commit"]);
        assert!(latest["rev"].as_str() > genesis["rev"].as_str());
        assert_eq!(latest["cid"], scene.export().await.root.to_string());
    }
}
