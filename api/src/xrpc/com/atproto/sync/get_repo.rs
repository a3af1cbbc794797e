//! `com.atproto.sync.getRepo`: a whole repo as an archive.

use atproto::syntax::{Did, Tid};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use common::repo::Repos;
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::{car, readable};
use crate::auth::ReaderAuth;
use crate::xrpc::{Method, XrpcError, XrpcQuery};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.sync.getRepo");

/// Which repo, and how much of it.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
    /// Leave out blocks that came with this rev or before it.
    since: Option<Tid>,
}

/// Streams the archive. A failure before the first byte is an error like any other; a later one breaks the connection, so
/// that nobody takes half a repo for a whole one.
pub async fn handle(
    State(repos): State<Repos>,
    XrpcQuery(Params { did, since }): XrpcQuery<Params>,
    reader: ReaderAuth,
) -> Result<Response, XrpcError> {
    let repo = readable(&repos, &reader, did).await?;
    let mut archive = repos.export(repo.account, since).await?;
    let first = archive.recv().await.transpose()?;
    let rest = stream::unfold(archive, |mut archive| async { Some((archive.recv().await?, archive)) });
    Ok(car(Body::from_stream(stream::iter(first.map(Ok)).chain(rest))))
}
