//! Callers of the public reading methods, where credentials are optional.

use std::sync::Arc;

use atproto::syntax::Did;
use axum::extract::{FromRef, FromRequestParts};
use common::config::Config;
use http::request::Parts;

use super::admin;
use super::header::{Credentials, credentials};
use super::tokens::{AccessScope, SessionTokens, TokenError};
use crate::xrpc::XrpcError;

/// Anybody; somebody with a session or the operator's password may read more.
///
/// Credentials that are there must be good.
#[derive(Clone, Debug)]
pub enum ReaderAuth {
    /// Nobody in particular.
    Anonymous,
    /// The owner of this account.
    Owner(Did),
    /// The operator.
    Admin,
}

impl ReaderAuth {
    /// True if the caller may read the repo of `did` though it is taken down or deactivated.
    pub fn may_read_inactive(&self, did: &Did) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Owner(owner) => owner == did,
            Self::Admin => true,
        }
    }
}

/// As [`ReaderAuth`], for the methods with which somebody takes their own data along: the session of a taken-down user is
/// accepted as well.
#[derive(Clone, Debug)]
pub struct TakeoutAuth(pub ReaderAuth);

impl<S> FromRequestParts<S> for ReaderAuth
where
    S: Sync,
    SessionTokens: FromRef<S>,
    Arc<Config>: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        read(parts, state, AccessScope::is_standard)
    }
}

impl<S> FromRequestParts<S> for TakeoutAuth
where
    S: Sync,
    SessionTokens: FromRef<S>,
    Arc<Config>: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        read(parts, state, |scope| scope.is_standard() || scope == AccessScope::Takendown).map(Self)
    }
}

/// Reads the credentials; of the sessions only those whose scope is accepted are good.
fn read<S>(parts: &Parts, state: &S, accepts: impl Fn(AccessScope) -> bool) -> Result<ReaderAuth, XrpcError>
where
    SessionTokens: FromRef<S>,
    Arc<Config>: FromRef<S>,
{
    match credentials(parts)? {
        None => Ok(ReaderAuth::Anonymous),
        Some(Credentials::Bearer(token)) => {
            let token = SessionTokens::from_ref(state).read_access(token)?;
            if accepts(token.scope) { Ok(ReaderAuth::Owner(token.did)) } else { Err(TokenError::Scope.into()) }
        }
        Some(Credentials::Other) => Err(XrpcError::auth_required("Invalid authorization header")),
        Some(basic @ Credentials::Basic { .. }) => {
            admin::check(&<Arc<Config>>::from_ref(state), &basic).map(|_| ReaderAuth::Admin)
        }
    }
}
