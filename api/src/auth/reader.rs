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

impl<S> FromRequestParts<S> for ReaderAuth
where
    S: Sync,
    SessionTokens: FromRef<S>,
    Arc<Config>: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        match credentials(parts)? {
            None => Ok(Self::Anonymous),
            Some(Credentials::Bearer(token)) => {
                let token = SessionTokens::from_ref(state).read_access(token)?;
                // A taken-down user may take the repo along.
                if token.scope.is_standard() || token.scope == AccessScope::Takendown {
                    Ok(Self::Owner(token.did))
                } else {
                    Err(TokenError::Scope.into())
                }
            }
            Some(Credentials::Other) => Err(XrpcError::auth_required("Invalid authorization header")),
            Some(basic @ Credentials::Basic { .. }) => {
                admin::check(&<Arc<Config>>::from_ref(state), &basic).map(|_| Self::Admin)
            }
        }
    }
}
