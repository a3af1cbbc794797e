//! `com.atproto.admin.disableInviteCodes`: stops invitation codes, and all codes of some accounts.

use axum::extract::State;
use common::account::{InviteError, Invites};
use serde::Deserialize;

use crate::auth::ModeratorAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.admin.disableInviteCodes");

/// Which codes, and whose. Unknown ones are passed over.
#[derive(Deserialize)]
pub struct Input {
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
}

/// Codes that an account gets later are not concerned.
pub async fn handle(
    State(invites): State<Invites>,
    auth: ModeratorAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    invites.disable(auth.actor(), &input.codes, &input.accounts).await?;
    Ok(())
}

impl From<InviteError> for XrpcError {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::Uses | InviteError::Codes | InviteError::Operator => Self::invalid_request(error),
            InviteError::Storage(_) => Self::internal(error),
        }
    }
}
