//! `com.atproto.sync.getRepoStatus`: whether a repo is open, and where it stands.

use atproto::syntax::{Did, Tid};
use axum::extract::State;
use common::repo::{RepoStatus, Repos};
use serde::{Deserialize, Serialize};

use super::{Unreadable, status_name};
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getRepoStatus");

/// Which repo.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
}

/// The status; `rev` only of an active repo.
#[derive(Serialize)]
pub struct Output {
    did: Did,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<Tid>,
}

/// Answers for inactive repos too; only one that is not here is an error.
pub async fn handle(State(repos): State<Repos>, XrpcQuery(Params { did }): XrpcQuery<Params>) -> XrpcResult<Output> {
    let repo = repos.find(&did).await.map_err(XrpcError::internal)?;
    let repo = repo.ok_or(Unreadable::RepoNotFound(did))?;
    let active = repo.status == RepoStatus::Active;
    Ok(XrpcJson(Output { did: repo.did, active, status: status_name(repo.status), rev: active.then_some(repo.rev) }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::xrpc::sync_scene::Scene;

    #[tokio::test]
    async fn the_rev_is_told_of_active_repos_only() {
        let scene = Scene::start().await;
        let did = &scene.alice.did;
        let rev = scene.export().await.commit().rev;
        let status = async || scene.query(METHOD, &[]).await.expect_ok();
        assert_eq!(status().await, json!({ "did": did, "active": true, "rev": rev }));
        scene.set_deactivated(true).await;
        assert_eq!(status().await, json!({ "did": did, "active": false, "status": "deactivated" }));
        scene.set_taken_down(true).await;
        assert_eq!(status().await, json!({ "did": did, "active": false, "status": "takendown" }));
        scene.set_deactivated(false).await;
        assert_eq!(status().await, json!({ "did": did, "active": false, "status": "takendown" }));
        scene.set_taken_down(false).await;
        assert_eq!(status().await, json!({ "did": did, "active": true, "rev": rev }));
    }

    #[tokio::test]
    async fn an_unknown_repo_is_not_found() {
        let scene = Scene::start().await;
        let unknown = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
        let reply = scene.api.call(METHOD).query(&[("did", unknown)]).send().await;
        let message = format!("Could not find repo for DID: {unknown}");
        assert_eq!(reply.error_with_message(), (400, "RepoNotFound".to_owned(), message));
        let reply = scene.api.call(METHOD).query(&[("did", "alice.test")]).send().await;
        assert_eq!(reply.error(), (400, "InvalidRequest".to_owned()));
    }
}
