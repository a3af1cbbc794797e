//! `com.atproto.server.refreshSession`: exchanging a refresh token.

use axum::extract::State;
use common::account::AccountStatus;

use super::{SessionOutput, SessionView};
use crate::{
    auth::{AccessScope, RefreshAuth},
    state::AppState,
    xrpc::{Method, NoInput, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.refreshSession");

/// Gives a new pair of tokens. The old refresh token may be used again for a while, and then gives the same one.
pub async fn handle(State(app): State<AppState>, auth: RefreshAuth, _: NoInput) -> XrpcResult<SessionOutput> {
    let account = app.accounts.find_by_did(&auth.did).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(|| super::no_user_info(&auth.did))?;
    if account.status == AccountStatus::Takendown {
        return Err(super::taken_down());
    }
    let next = app.sessions.rotate(account.id, &auth.id).await.map_err(XrpcError::internal)?;
    let next = next.ok_or_else(|| XrpcError::bad_request("ExpiredToken", "Token has been revoked"))?;
    Ok(XrpcJson(SessionOutput {
        access_jwt: app.tokens.issue_access(&account.did, AccessScope::Full)?,
        refresh_jwt: app.tokens.issue_refresh(&account.did, &next)?,
        view: SessionView::new(&app, account).await,
    }))
}
