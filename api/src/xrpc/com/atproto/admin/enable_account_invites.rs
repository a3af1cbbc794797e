//! `com.atproto.admin.enableAccountInvites`: lets an account's new codes be used again.

use axum::extract::State;
use common::account::Invites;

use super::{InvitesInput, allow_invites};
use crate::auth::ModeratorAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.enableAccountInvites");

/// Does nothing, and says nothing, for an account that is not here.
pub async fn handle(
    State(invites): State<Invites>,
    auth: ModeratorAuth,
    XrpcBody(input): XrpcBody<InvitesInput>,
) -> Result<(), XrpcError> {
    allow_invites(&invites, &auth, &input, true).await
}
