//! `com.atproto.server.getSession`: whose session this is.

use axum::extract::State;
use common::account::AccountStatus;

use super::SessionView;
use crate::{
    auth::AccessAuth,
    state::AppState,
    xrpc::{Method, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.server.getSession");

/// Answers for deactivated accounts too; one that was taken down looks as if it were gone.
pub async fn handle(State(app): State<AppState>, auth: AccessAuth) -> XrpcResult<SessionView> {
    let account = app.accounts.find_by_did(auth.did()).await.map_err(XrpcError::internal)?;
    let account = account.filter(|account| account.status != AccountStatus::Takendown);
    let account = account.ok_or_else(|| super::no_user_info(auth.did()))?;
    Ok(XrpcJson(SessionView::new(&app, account).await))
}
