//! `com.atproto.repo.describeRepo`: whose repo it is, and which collections it has.

use std::fmt;
use std::sync::Arc;

use atproto::identity::DidDocument;
use atproto::syntax::{AtIdentifier, Did, Nsid};
use axum::extract::State;
use common::account::{AccountStatus, Accounts};
use common::identity::{DidResolver, ResolveError};
use common::repo::Repos;
use serde::{Deserialize, Serialize};

use crate::xrpc::{Method, Shared, XrpcError, XrpcJson, XrpcQuery, XrpcResult, xrpc_errors};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.repo.describeRepo");

/// Which repo.
#[derive(Deserialize)]
pub struct Params {
    repo: AtIdentifier,
}

/// The account, as this server and its DID document have it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    handle: String,
    did: Did,
    did_doc: Shared<DidDocument>,
    collections: Vec<Nsid>,
    handle_is_correct: bool,
}

/// Reference: the errors of the sync methods; this method's lexicon declares none.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::enum_variant_names, reason = "the names on the wire")]
pub enum Error {
    #[error("Could not find repo for DID: {0}")]
    RepoNotFound(AtIdentifier),
    #[error("Repo has been taken down: {0}")]
    RepoTakendown(Did),
    #[error("Repo has been deactivated: {0}")]
    RepoDeactivated(Did),
}

/// Answers for active accounts here.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(resolver): State<DidResolver>,
    State(repos): State<Repos>,
    XrpcQuery(Params { repo }): XrpcQuery<Params>,
) -> XrpcResult<Output> {
    let account = accounts.find_by_identifier(&repo).await.map_err(XrpcError::internal)?;
    let account = account.ok_or(Error::RepoNotFound(repo))?;
    match account.status {
        AccountStatus::Active => {}
        AccountStatus::Deactivated => return Err(Error::RepoDeactivated(account.did).into()),
        AccountStatus::Takendown => return Err(Error::RepoTakendown(account.did).into()),
    }
    let did_doc = find_document(&resolver, &account.did).await?;
    // Reference: compares the two only; whether the handle leads back here is not asked.
    let handle_is_correct = account.handle.is_some() && did_doc.handle() == account.handle;
    let collections = repos.list_collections(account.id).await.map_err(XrpcError::internal)?;
    let handle = account.shown_handle().to_owned();
    Ok(XrpcJson(Output { handle, did: account.did, did_doc: Shared(did_doc), collections, handle_is_correct }))
}

async fn find_document(resolver: &DidResolver, did: &Did) -> Result<Arc<DidDocument>, XrpcError> {
    let unresolved = |why: &dyn fmt::Display| XrpcError::invalid_request(format_args!("Could not resolve DID: {why}"));
    match resolver.find_shared_document(did).await {
        Ok(Some(document)) => Ok(document),
        Ok(None) => Err(unresolved(did)),
        Err(error) => match &*error {
            ResolveError::Storage(_) => Err(XrpcError::internal(error)),
            ResolveError::Plc(_)
            | ResolveError::Web(_)
            | ResolveError::Document(_)
            | ResolveError::Deactivated
            | ResolveError::Timeout => Err(unresolved(&error)),
        },
    }
}

xrpc_errors!(Error: RepoNotFound, RepoTakendown, RepoDeactivated);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::xrpc::repo_scene::{CUSTOM, POST, Scene, post};

    #[tokio::test]
    async fn a_repo_has_its_account_document_and_collections() {
        let scene = Scene::start().await;
        let answer = scene.query(METHOD, &[("repo", "alice.test")]).await.unwrap();
        assert_eq!(answer["collections"], json!([]));
        for (collection, record) in [(POST, post("hi")), (CUSTOM, json!({})), (POST, post("again"))] {
            scene.create(&json!({ "repo": "alice.test", "collection": collection, "record": record })).await;
        }
        let did = scene.alice.did.as_str();
        let answer = scene.query(METHOD, &[("repo", did)]).await.unwrap();
        assert_eq!(answer["handle"], "alice.test");
        assert_eq!(answer["did"], did);
        assert_eq!(answer["handleIsCorrect"], true);
        assert_eq!(answer["collections"], json!([POST, CUSTOM]));
        // Reference: a collection is there though all its records are hidden.
        let rkey = scene.keys(CUSTOM).await.remove(0);
        scene.take_record_down(CUSTOM, &rkey).await;
        let hidden = scene.query(METHOD, &[("repo", did)]).await.unwrap();
        assert_eq!((scene.keys(CUSTOM).await, &hidden["collections"]), (vec![], &answer["collections"]));
        scene.delete(CUSTOM, &rkey).await;
        assert_eq!(scene.query(METHOD, &[("repo", did)]).await.unwrap()["collections"], json!([POST]));
        assert_eq!(answer["didDoc"]["id"], did);
        assert_eq!(answer["didDoc"]["alsoKnownAs"], json!(["at://alice.test"]));
    }

    #[tokio::test]
    async fn closed_and_unknown_repos_have_their_errors() {
        let scene = Scene::start().await;
        scene.set_deactivated(&scene.alice, true).await;
        scene.set_taken_down(&scene.bob, true).await;
        for (repo, name) in [
            ("nobody.test", "RepoNotFound"),
            ("did:web:nobody.test", "RepoNotFound"),
            ("alice.test", "RepoDeactivated"),
            ("bob.test", "RepoTakendown"),
            ("Bob", "InvalidRequest"),
        ] {
            let failure = scene.query(METHOD, &[("repo", repo)]).await.unwrap_err();
            assert_eq!((failure.status, failure.error.as_str()), (400, name), "{repo}");
        }
    }
}
