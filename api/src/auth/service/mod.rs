//! Callers who prove who they are with a token that their own key signed.
//!
//! A service token names its issuer, this server, and the one method it is for. Its signature is checked against the
//! issuer's DID document: against a remembered one first, and if that does not match against one that is fetched anew,
//! for the key may have just changed. See [`ServiceToken`].
//!
//! Anybody can write a token that makes this server fetch the document of whomever it names. So that is done last, only for
//! tokens of which nothing else is wrong, and the caller's address is charged for it before.

mod token;
mod uploader;

use std::sync::Arc;

use atproto::syntax::Did;
use axum::extract::{FromRef, FromRequestParts};
use common::clock::Clock;
use common::config::Config;
use common::identity::DidResolver;
use http::request::Parts;

use super::header::{Credentials, credentials, require_bearer};
use crate::limit::charge_address;
use crate::xrpc::{Method, XrpcError};
use token::{Issuer, ServiceToken, ServiceTokenError};
pub use uploader::UploaderAuth;

/// The key fragment by which a moderation service signs labels, and the service that has it.
const LABELER: &str = "atproto_labeler";

/// Somebody with a DID, who may or may not have an account here; or nobody in particular.
///
/// Without a header it is `None`; with one, its token must be good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionalServiceAuth(pub Option<Did>);

/// The moderation service of `PDS_MOD_SERVICE_DID`, with its DID.
///
/// It signs as itself or as its labeler, each with a key of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModerationServiceAuth(pub Did);

impl<S> FromRequestParts<S> for OptionalServiceAuth
where
    S: Sync,
    Arc<Config>: FromRef<S>,
    Clock: FromRef<S>,
    DidResolver: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        match credentials(parts)? {
            None => Ok(Self(None)),
            Some(Credentials::Bearer(token)) => {
                // A service of somebody's is not somebody.
                let issuer = verify(parts, state, token, |issuer| issuer.service.is_none()).await?;
                Ok(Self(Some(issuer.did)))
            }
            Some(Credentials::Basic { .. } | Credentials::Other) => {
                Err(XrpcError::auth_required("Invalid authorization header"))
            }
        }
    }
}

impl<S> FromRequestParts<S> for ModerationServiceAuth
where
    S: Sync,
    Arc<Config>: FromRef<S>,
    Clock: FromRef<S>,
    DidResolver: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let config = <Arc<Config>>::from_ref(state);
        let trusted = config.upstreams.mod_service.as_ref().map(|service| &service.did);
        let accepts = |issuer: &Issuer| {
            Some(&issuer.did) == trusted && issuer.service.as_deref().is_none_or(|service| service == LABELER)
        };
        let issuer = verify(parts, state, require_bearer(parts)?, accepts).await?;
        Ok(Self(issuer.did))
    }
}

/// Checks a token for the method that is being called, of an issuer that is accepted.
///
/// Reference: whom it is for is looked at last. The answer to a token of which several things are wrong differs.
async fn verify<S>(
    parts: &Parts,
    state: &S,
    token: &str,
    accepts: impl Fn(&Issuer) -> bool,
) -> Result<Issuer, XrpcError>
where
    Arc<Config>: FromRef<S>,
    Clock: FromRef<S>,
    DidResolver: FromRef<S>,
{
    let token = ServiceToken::parse(token)?;
    let method = parts.extensions.get().map_or("", Method::nsid);
    let issuer = token.check_claims(Clock::from_ref(state).now(), method)?;
    if !accepts(&issuer) {
        return Err(ServiceTokenError::UntrustedIssuer.into());
    }
    token.check_audience(&<Arc<Config>>::from_ref(state).service.did)?;
    charge_address(parts).await?;
    token.check_signature(&issuer, &DidResolver::from_ref(state)).await?;
    Ok(issuer)
}

#[cfg(test)]
mod tests;
