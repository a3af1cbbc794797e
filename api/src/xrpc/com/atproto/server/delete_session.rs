//! `com.atproto.server.deleteSession`: signing out.

use axum::extract::State;
use common::session::Sessions;

use crate::{
    auth::EndedAuth,
    xrpc::{Method, NoInput, XrpcError},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.deleteSession");

/// Takes an expired token too, and one that was revoked. Access tokens stay good until they expire.
///
/// Reference: it ends the given token only, so that the one exchanged for it, or from it, lives on.
pub async fn handle(State(sessions): State<Sessions>, auth: EndedAuth, _: NoInput) -> Result<(), XrpcError> {
    sessions.end(&auth.id).await.map_err(XrpcError::internal)
}
