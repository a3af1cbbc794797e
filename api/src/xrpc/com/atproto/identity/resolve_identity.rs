//! `com.atproto.identity.resolveIdentity`: DID, document and handle of somebody, checked in both directions.

use atproto::syntax::AtIdentifier;
use axum::extract::State;
use serde::Deserialize;

use super::{Freshness, IdentityInfo, find_identity};
use crate::state::AppState;
use crate::xrpc::{Method, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.identity.resolveIdentity");

/// Who.
#[derive(Deserialize)]
pub struct Params {
    identifier: AtIdentifier,
}

/// Answers for anybody, from the caches if they have it. The reference does not have this method.
pub async fn handle(
    State(app): State<AppState>,
    XrpcQuery(Params { identifier }): XrpcQuery<Params>,
) -> XrpcResult<IdentityInfo> {
    find_identity(&app, &identifier, Freshness::Cached).await.map(XrpcJson)
}
