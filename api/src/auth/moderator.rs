//! Moderators.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use common::audit::Actor;
use common::config::Config;
use http::request::Parts;

use super::AdminAuth;
use crate::xrpc::XrpcError;

/// A caller who may moderate: for now the operator alone.
#[derive(Clone, Debug)]
pub struct ModeratorAuth(Actor);

impl ModeratorAuth {
    /// Who it is, for the audit log.
    pub fn actor(&self) -> &Actor {
        &self.0
    }
}

impl<S> FromRequestParts<S> for ModeratorAuth
where
    S: Sync,
    Arc<Config>: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        AdminAuth::from_request_parts(parts, state).await.map(|_| Self(Actor::Admin))
    }
}
