//! `com.atproto.server.revokeAppPassword`: ends an app password, and the sessions that were opened with it.

use axum::extract::State;
use common::account::Accounts;
use serde::Deserialize;

use crate::{
    auth::{Checked, FullAuth},
    xrpc::{Method, XrpcBody, XrpcError},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.revokeAppPassword");

/// Which one.
#[derive(Deserialize)]
pub struct Input {
    name: String,
}

/// A name that is not there is fine: it was revoked before. Access tokens stay good until they expire.
///
/// Reference: app passwords may revoke too. Here whoever has stolen one cannot lock the other apps out.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<FullAuth>,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    accounts.revoke_app_password(account.id, &input.name).await.map_err(XrpcError::internal)
}
