//! `com.atproto.sync.getHead`: CID of a repo's newest commit. Deprecated; getLatestCommit says more.

use atproto::data::Cid;
use atproto::syntax::Did;
use axum::extract::State;
use common::repo::Repos;
use serde::{Deserialize, Serialize};

use super::readable;
use crate::auth::ReaderAuth;
use crate::xrpc::{Method, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getHead");

/// Which repo.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
}

/// Where it stands.
#[derive(Serialize)]
pub struct Output {
    root: Cid,
}

/// Answers from the repo's head.
///
/// Reference: a repo that is not here is `RepoNotFound`, which the lexicon does not name. Its `HeadNotFound` is for repos
/// without a commit; there are none.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { did }): XrpcQuery<Params>,
    reader: ReaderAuth,
) -> XrpcResult<Output> {
    let repo = readable(&repos, &reader, did).await?;
    Ok(XrpcJson(Output { root: repo.head }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::xrpc::sync_scene::{COLLECTION, Scene};

    #[tokio::test]
    async fn the_root_is_the_newest_commit() {
        let scene = Scene::start().await;
        let genesis = scene.export().await.root;
        assert_eq!(scene.query(METHOD, &[]).await.expect_ok(), json!({ "root": genesis.to_string() }));
        scene.create(&[(COLLECTION, "a".to_owned())], 0).await;
        let now = scene.export().await.root;
        assert_ne!(now, genesis);
        assert_eq!(scene.query(METHOD, &[]).await.expect_ok(), json!({ "root": now.to_string() }));
    }
}
