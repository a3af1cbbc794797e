//! `com.atproto.server.listAppPasswords`: the caller's app passwords, without their texts.

use axum::extract::State;
use common::account::Accounts;
use serde::Serialize;

use super::AppPasswordView;
use crate::{
    auth::{AccessAuth, Checked},
    xrpc::{Method, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.server.listAppPasswords");

/// The oldest first.
#[derive(Serialize)]
pub struct Output {
    passwords: Vec<AppPasswordView>,
}

/// Reference: a taken-down account may list too, until its token expires.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<AccessAuth>,
) -> XrpcResult<Output> {
    let passwords = accounts.list_app_passwords(account.id).await.map_err(XrpcError::internal)?;
    Ok(XrpcJson(Output { passwords: passwords.into_iter().map(AppPasswordView::from).collect() }))
}
