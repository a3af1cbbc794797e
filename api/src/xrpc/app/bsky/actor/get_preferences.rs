//! `app.bsky.actor.getPreferences`: what clients keep for the caller.

use atproto::syntax::Did;
use axum::extract::{FromRequestParts, State};
use common::account::Accounts;
use common::preference::{Access, Preference, Preferences};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};

use super::access_of;
use crate::auth::{LeavingAuth, ModerationServiceAuth, account_not_found};
use crate::state::AppState;
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("app.bsky.actor.getPreferences");

/// Whose preferences; for the moderation service only.
#[derive(Deserialize)]
pub struct Params {
    did: Option<String>,
}

/// Who asks.
pub enum Caller {
    /// Their owner.
    Owner(LeavingAuth),
    /// The moderation service.
    Moderator,
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = XrpcError;

    /// Whoever is not the moderation service must have a session.
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, XrpcError> {
        match ModerationServiceAuth::from_request_parts(parts, state).await {
            Ok(_) => Ok(Self::Moderator),
            Err(error) if matches!(error.status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST) => {
                LeavingAuth::from_request_parts(parts, state).await.map(Self::Owner)
            }
            Err(error) => Err(error),
        }
    }
}

/// The preferences.
#[derive(Serialize)]
pub struct Output {
    preferences: Vec<Preference>,
}

/// Answers for accounts in any state: a taken-down user takes them along.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(preferences): State<Preferences>,
    XrpcQuery(params): XrpcQuery<Params>,
    caller: Caller,
) -> XrpcResult<Output> {
    let (did, access) = match &caller {
        // What a user says here was never looked at.
        Caller::Owner(auth) => (auth.did().clone(), access_of(auth.scope())),
        Caller::Moderator => (named_account(&params)?, Access::Full),
    };
    let account = accounts.find_principal(&did).await.map_err(XrpcError::internal)?;
    let account = account.ok_or_else(account_not_found)?;
    let preferences = preferences.list(account.id, access).await.map_err(XrpcError::internal)?;
    Ok(XrpcJson(Output { preferences }))
}

fn named_account(params: &Params) -> Result<Did, XrpcError> {
    let did = params.did.as_deref().and_then(|did| did.parse().ok());
    did.ok_or_else(|| XrpcError::invalid_request("A moderation service must name a did"))
}
