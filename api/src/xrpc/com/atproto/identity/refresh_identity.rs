//! `com.atproto.identity.refreshIdentity`: looks somebody up anew, whatever the caches have.

use atproto::syntax::AtIdentifier;
use axum::extract::State;
use serde::Deserialize;

use super::{Freshness, IdentityInfo, find_identity};
use crate::auth::AccessAuth;
use crate::state::AppState;
use crate::xrpc::{Method, XrpcBody, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.identity.refreshIdentity");

/// Who.
#[derive(Deserialize)]
pub struct Input {
    identifier: AtIdentifier,
}

/// Answers users of this server only: each call makes it ask around. The reference does not have this method.
pub async fn handle(
    State(app): State<AppState>,
    _auth: AccessAuth,
    XrpcBody(Input { identifier }): XrpcBody<Input>,
) -> XrpcResult<IdentityInfo> {
    find_identity(&app, &identifier, Freshness::Now).await.map(XrpcJson)
}
