//! `com.atproto.server.createSession`: signing in with a password.

use axum::extract::State;
use common::account::{AccountStatus, MAX_LOGIN_PASSWORD_CHARS};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{SessionOutput, SessionView};
use crate::{
    auth::AccessScope,
    state::AppState,
    xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.createSession");

/// Who signs in. `authFactorToken` is ignored: there is no second factor.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Handle, DID or e-mail address.
    identifier: String,
    password: SecretString,
    /// Whether a session that is only good for moving away will do, if the account is taken down.
    allow_takendown: Option<bool>,
}

/// An unknown name and a wrong password are not told apart. That an account is taken down is only told to its owner.
pub async fn handle(State(app): State<AppState>, XrpcBody(input): XrpcBody<Input>) -> XrpcResult<SessionOutput> {
    if input.password.expose_secret().chars().count() > MAX_LOGIN_PASSWORD_CHARS {
        return Err(XrpcError::auth_required("Password too long. Consider resetting your password."));
    }
    let account = app.accounts.find_by_login(&input.identifier, input.password).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(|| XrpcError::auth_required("Invalid identifier or password"))?;
    let takendown = account.status == AccountStatus::Takendown;
    if takendown && !input.allow_takendown.unwrap_or(false) {
        return Err(super::taken_down());
    }
    let (scope, token) = if takendown {
        // Never stored, so it cannot be exchanged: this session ends with its access token.
        (AccessScope::Takendown, app.sessions.new_token())
    } else {
        (AccessScope::Full, app.sessions.start(account.id).await.map_err(XrpcError::internal)?)
    };
    Ok(XrpcJson(SessionOutput {
        access_jwt: app.tokens.issue_access(&account.did, scope)?,
        refresh_jwt: app.tokens.issue_refresh(&account.did, &token)?,
        view: SessionView::new(&app, account).await,
    }))
}
