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
