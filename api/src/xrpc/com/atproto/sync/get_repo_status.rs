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
