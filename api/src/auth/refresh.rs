//! Callers with a refresh token.

use atproto::syntax::Did;
use axum::extract::{FromRef, FromRequestParts};
use common::session::RefreshTokenId;
use http::request::Parts;

use super::header::require_bearer;
use super::tokens::SessionTokens;
use crate::xrpc::XrpcError;

/// A refresh token that has not expired. Whether it was revoked, the sessions know.
#[derive(Clone, Debug)]
pub struct RefreshAuth {
    /// The account.
    pub did: Did,
    /// The token.
    pub id: RefreshTokenId,
}

/// A refresh token that may have expired: enough to end its session.
#[derive(Clone, Debug)]
pub struct EndedAuth {
    /// The token.
    pub id: RefreshTokenId,
}

impl<S> FromRequestParts<S> for RefreshAuth
where
    S: Sync,
    SessionTokens: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let (did, id) = SessionTokens::from_ref(state).read_refresh(require_bearer(parts)?)?;
        Ok(Self { did, id })
    }
}

impl<S> FromRequestParts<S> for EndedAuth
where
    S: Sync,
    SessionTokens: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let (_, id) = SessionTokens::from_ref(state).read_ended_refresh(require_bearer(parts)?)?;
        Ok(Self { id })
    }
}
