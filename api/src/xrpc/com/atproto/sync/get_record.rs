//! `com.atproto.sync.getRecord`: a record with proof, or the proof that there is none.

use atproto::syntax::{Did, Nsid, RecordKey};
use axum::extract::State;
use axum::response::Response;
use common::repo::{RecordPath, Repos};
use serde::Deserialize;

use super::{car, readable};
use crate::auth::ReaderAuth;
use crate::xrpc::{Method, XrpcError, XrpcQuery};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getRecord");

/// Which record.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
    collection: Nsid,
    rkey: RecordKey,
}

/// Answers an archive: the commit, the tree nodes on the way to the record, and the record if it exists.
///
/// Reference: a missing record is no error; the nodes prove that it is missing.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { did, collection, rkey }): XrpcQuery<Params>,
    reader: ReaderAuth,
) -> Result<Response, XrpcError> {
    let repo = readable(&repos, &reader, did).await?;
    Ok(car(repos.record_proof(repo.account, &RecordPath { collection, rkey }).await?))
}

#[cfg(test)]
mod tests {
    use atproto::data::Cid;
    use atproto::mst::{self, Key};

    use super::*;
    use crate::xrpc::sync_scene::{COLLECTION, Scene};

    /// What an archive proves about a record: its CID, or that there is none. The archive must hold nothing else.
    async fn proven(scene: &Scene, rkey: &str) -> Option<Cid> {
        let archive = scene.archive(METHOD, &[("collection", COLLECTION), ("rkey", rkey)]).await;
        let (commit, nodes) = (archive.commit(), archive.nodes());
        let key = Key::new(&COLLECTION.parse().unwrap(), &rkey.parse().unwrap());
        let proven = mst::get(&commit.data, &key, &nodes).unwrap();
        let path = mst::path_proof(&commit.data, &key, &nodes).unwrap();
        let mut expected = vec![archive.root];
        expected.extend(path.into_iter().map(|(cid, _)| cid));
        expected.extend(proven);
        assert_eq!(archive.cids(), expected);
        proven
    }

    #[tokio::test]
    async fn records_are_proven_to_be_there_or_not() {
        let scene = Scene::start().await;
        assert_eq!(proven(&scene, "anything").await, None, "an empty repo proves it too");
        let keys: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
        scene.create(&keys.iter().map(|key| (COLLECTION, key.clone())).collect::<Vec<_>>(), 0).await;
        let export = scene.export().await;
        for key in &keys {
            let cid = proven(&scene, key).await.unwrap();
            let (_, block) = export.blocks.iter().find(|(found, _)| *found == cid).unwrap();
            assert!(String::from_utf8_lossy(block).contains(&format!("{COLLECTION}/{key}")));
            assert_eq!(proven(&scene, &format!("{key}x")).await, None);
        }
    }

    #[tokio::test]
    async fn a_hidden_record_is_still_proven() {
        let scene = Scene::start().await;
        scene.create(&[(COLLECTION, "hidden".to_owned())], 0).await;
        let cid = proven(&scene, "hidden").await;
        common::testing::seed::take_record_down(&scene.api.db.pool(), &scene.alice.did, COLLECTION, "hidden").await;
        assert_eq!(proven(&scene, "hidden").await, cid, "the tree cannot do without it");
    }
}
