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
