//! `app.bsky.actor.getPreferences`: what clients keep for the caller.

use axum::extract::State;
use common::account::Accounts;
use common::preference::{Preference, Preferences};
use serde::Serialize;

use super::access_of;
use crate::auth::{LeavingAuth, account_not_found};
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("app.bsky.actor.getPreferences");

/// The preferences.
#[derive(Serialize)]
pub struct Output {
    preferences: Vec<Preference>,
}

/// Answers for accounts in any state: a taken-down user takes them along.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(preferences): State<Preferences>,
    auth: LeavingAuth,
) -> XrpcResult<Output> {
    let account = accounts.find_principal(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(account_not_found)?;
    let preferences = preferences.list(account.id, access_of(auth.scope())).await.map_err(XrpcError::internal)?;
    Ok(XrpcJson(Output { preferences }))
}
