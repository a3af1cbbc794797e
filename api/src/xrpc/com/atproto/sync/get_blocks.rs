//! `com.atproto.sync.getBlocks`: blocks of a repo by their CIDs, as an archive rooted at the newest commit.

use atproto::data::Cid;
use atproto::syntax::Did;
use axum::extract::State;
use axum::response::Response;
use common::repo::Repos;
use serde::Deserialize;

use super::{car, readable};
use crate::auth::ReaderAuth;
use crate::xrpc::{Method, XrpcError, XrpcQuery};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getBlocks");

/// Which blocks.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
    cids: Vec<Cid>,
}

/// Answers all of the blocks or, if one is not there, an error that names what is missing.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { did, cids }): XrpcQuery<Params>,
    reader: ReaderAuth,
) -> Result<Response, XrpcError> {
    let repo = readable(&repos, &reader, did).await?;
    Ok(car(repos.blocks(repo.account, &cids).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xrpc::sync_scene::{COLLECTION, Scene};

    #[tokio::test]
    async fn commit_nodes_and_records_are_blocks() {
        let scene = Scene::start().await;
        scene.create(&(0..20).map(|n| (COLLECTION, format!("{n:02}"))).collect::<Vec<_>>(), 0).await;
        let export = scene.export().await;
        let all: Vec<String> = export.cids().iter().map(ToString::to_string).collect();
        let params: Vec<_> = all.iter().rev().map(|cid| ("cids", cid.as_str())).collect();
        let archive = scene.archive(METHOD, &params).await;
        assert_eq!(archive.root, export.root);
        let mut blocks = archive.blocks;
        blocks.reverse();
        assert_eq!(blocks, export.blocks, "in the order in which they were asked for");

        let (root, record) = (all[0].as_str(), all.last().unwrap().as_str());
        let archive = scene.archive(METHOD, &[("cids", record), ("cids", root), ("cids", record)]).await;
        assert_eq!(archive.root, export.root);
        assert_eq!(archive.blocks, [export.blocks.last().unwrap().clone(), export.blocks[0].clone()], "once each");
    }

    #[tokio::test]
    async fn everything_that_is_missing_is_named() {
        let scene = Scene::start().await;
        let bob = scene.api.create_account("bob").await;
        let here = scene.export().await.root.to_string();
        let elsewhere = scene.api.call(super::super::get_latest_commit::METHOD).query(&[("did", &bob.did)]).send();
        let elsewhere = elsewhere.await.expect_ok()["cid"].as_str().unwrap().to_owned();
        let nowhere = Cid::dag_cbor(b"nothing").to_string();
        let reply = scene.query(METHOD, &[("cids", &nowhere), ("cids", &here), ("cids", &elsewhere)]).await;
        let message = format!("Could not find cids: {nowhere},{elsewhere}");
        assert_eq!(reply.error_with_message(), (400, "InvalidRequest".to_owned(), message));

        for params in [&[][..], &[("cids", "nonsense")]] {
            assert_eq!(scene.query(METHOD, params).await.error(), (400, "InvalidRequest".to_owned()), "{params:?}");
        }
    }

    #[tokio::test]
    async fn more_than_fits_an_answer_is_refused() {
        let scene = Scene::start().await;
        let keys: Vec<String> = (0..18).map(|n| format!("{n:02}")).collect();
        for key in &keys {
            scene.create(&[(COLLECTION, key.clone())], 990_000).await;
        }
        let export = scene.export().await;
        let large = export.blocks.iter().filter(|(_, block)| block.len() > 900_000);
        let cids: Vec<String> = large.map(|(cid, _)| cid.to_string()).collect();
        assert_eq!(cids.len(), keys.len());
        let params: Vec<_> = cids.iter().map(|cid| ("cids", cid.as_str())).collect();
        let (status, _, message) = scene.query(METHOD, &params).await.error_with_message();
        assert_eq!((status, message.as_str()), (400, "Too many blocks at once: more than 16777216 bytes"));
        assert_eq!(scene.archive(METHOD, &params[..16]).await.blocks.len(), 16);
    }
}
