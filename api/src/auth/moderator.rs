//! Moderators.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use common::audit::Actor;
use common::clock::Clock;
use common::config::Config;
use common::identity::DidResolver;
use http::request::Parts;

use super::header::{Credentials, credentials};
use super::{AdminAuth, ModerationServiceAuth};
use crate::xrpc::XrpcError;

/// A caller who may moderate: the configured moderation service with a token of its own, or the operator.
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
    S: Send + Sync,
    Arc<Config>: FromRef<S>,
    Clock: FromRef<S>,
    DidResolver: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        // Whatever else the header is, the operator's check says what is wrong with it.
        if matches!(credentials(parts), Ok(Some(Credentials::Bearer(_)))) {
            let ModerationServiceAuth(did) = ModerationServiceAuth::from_request_parts(parts, state).await?;
            return Ok(Self(Actor::Service(did)));
        }
        AdminAuth::from_request_parts(parts, state).await.map(|_| Self(Actor::Admin))
    }
}
