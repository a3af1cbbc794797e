//! Callers who bring the bytes of a blob.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use common::account::{Account, AccountStatus, Accounts};
use common::clock::Clock;
use common::config::Config;
use common::identity::DidResolver;
use http::request::Parts;

use super::token::names_method;
use super::verify;
use crate::auth::header::require_bearer;
use crate::auth::standing::{account_not_found, account_taken_down};
use crate::auth::{AccessAuth, SessionTokens};
use crate::limit::charge_caller;
use crate::xrpc::XrpcError;

/// Somebody who may upload blobs for an account of this server: whoever has a session of it, or a service that it gave a
/// service token to, as to one that makes videos smaller.
///
/// # Errors
/// 401 `AccountTakedown`; without such an account 403 `AccountNotFound`, or of a service token 400 `NotFound`; and those of
/// the credentials.
#[derive(Clone, Debug)]
pub struct UploaderAuth(pub Account);

impl<S> FromRequestParts<S> for UploaderAuth
where
    S: Send + Sync,
    Accounts: FromRef<S>,
    Arc<Config>: FromRef<S>,
    Clock: FromRef<S>,
    DidResolver: FromRef<S>,
    SessionTokens: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let token = require_bearer(parts)?;
        let by_service = names_method(token);
        let did = if by_service {
            verify(parts, state, token, |issuer| issuer.service.is_none()).await?.did
        } else {
            AccessAuth::from_request_parts(parts, state).await?.did().clone()
        };
        let account = Accounts::from_ref(state).find_by_did(&did).await.map_err(XrpcError::internal)?;
        match account {
            // Reference: of a service it does not ask whether the account is taken down.
            Some(account) if account.status == AccountStatus::Takendown => Err(account_taken_down()),
            Some(account) => {
                charge_caller(parts, &account.did).await?;
                Ok(Self(account))
            }
            None if by_service => Err(XrpcError::bad_request("NotFound", "Repo not found")),
            None => Err(account_not_found()),
        }
    }
}
