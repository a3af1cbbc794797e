//! The server's operator.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use common::config::Config;
use http::request::Parts;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::header::{Credentials, require_credentials};
use crate::xrpc::XrpcError;

/// A caller who knows the operator's password: HTTP Basic, user `admin`.
#[derive(Clone, Copy, Debug)]
pub struct AdminAuth(());

impl<S> FromRequestParts<S> for AdminAuth
where
    S: Sync,
    Arc<Config>: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        check(&<Arc<Config>>::from_ref(state), &require_credentials(parts)?)
    }
}

/// Compares in a time that does not tell how much of the password is right.
pub(super) fn check(config: &Config, credentials: &Credentials<'_>) -> Result<AdminAuth, XrpcError> {
    let expected = config.secrets.admin_password.expose_secret().as_bytes();
    match credentials {
        Credentials::Basic { user, password } if user == "admin" && bool::from(password.as_bytes().ct_eq(expected)) => {
            Ok(AdminAuth(()))
        }
        _ => Err(XrpcError::auth_required("Authentication Required")),
    }
}
