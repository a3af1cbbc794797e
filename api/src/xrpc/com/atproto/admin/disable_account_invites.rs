//! `com.atproto.admin.disableAccountInvites`: stops the codes that an account earns from now on.

use atproto::syntax::Did;
use axum::extract::State;
use common::account::Invites;
use serde::Deserialize;

use crate::auth::ModeratorAuth;
use crate::xrpc::{Method, PlainText, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.disableAccountInvites");

/// Whose, and why: the note is kept in the audit log.
#[derive(Deserialize)]
pub struct Input {
    account: Did,
    note: Option<PlainText>,
}

/// Does nothing, and says nothing, for an account that is not here.
pub async fn handle(
    State(invites): State<Invites>,
    auth: ModeratorAuth,
    XrpcBody(Input { account, note }): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    let note = note.as_ref().map(|note| note.0.as_str());
    invites.set_allowed(auth.actor(), &account, false, note).await.map_err(XrpcError::internal)?;
    Ok(())
}
