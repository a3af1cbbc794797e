//! Callers with an access token.

use atproto::syntax::Did;
use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::header::require_bearer;
use super::tokens::{AccessScope, AccessToken, SessionTokens, TokenError};
use crate::xrpc::XrpcError;

/// A session opened with the main password or an app password.
///
/// Only the token is checked: the account may have been closed, or be gone, since it was issued.
#[derive(Clone, Debug)]
pub struct AccessAuth(AccessToken);

impl AccessAuth {
    /// The account.
    pub fn did(&self) -> &Did {
        &self.0.did
    }

    /// How much the session may do.
    pub fn scope(&self) -> AccessScope {
        self.0.scope
    }
}

/// A session opened with the main password.
///
/// Only the token is checked, as with [`AccessAuth`].
#[derive(Clone, Debug)]
pub struct FullAuth(AccessAuth);

impl FullAuth {
    /// The account.
    pub fn did(&self) -> &Did {
        self.0.did()
    }
}

impl<S> FromRequestParts<S> for FullAuth
where
    S: Sync,
    SessionTokens: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let auth = AccessAuth::from_request_parts(parts, state).await?;
        if auth.scope() == AccessScope::Full { Ok(Self(auth)) } else { Err(TokenError::Scope.into()) }
    }
}

impl<S> FromRequestParts<S> for AccessAuth
where
    S: Sync,
    SessionTokens: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let token = SessionTokens::from_ref(state).read_access(require_bearer(parts)?)?;
        if token.scope.is_standard() { Ok(Self(token)) } else { Err(TokenError::Scope.into()) }
    }
}
