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
