//! The server's operator.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use common::config::Config;
use http::request::Parts;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::header::{Credentials, credentials};
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
        // Whatever is wrong with the header: 401.
        let credentials = credentials(parts).ok().flatten().unwrap_or(Credentials::Other);
        check(&<Arc<Config>>::from_ref(state), &credentials)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_and_password_are_let_in() {
        let mut config = Config::for_tests();
        config.secrets.admin_password = "hunter2".into();
        let is_let_in = |user: &str, password: &str| {
            let credentials = Credentials::Basic { user: user.to_owned(), password: password.to_owned() };
            check(&config, &credentials).is_ok()
        };
        assert!(is_let_in("admin", "hunter2"));
        for (user, password) in
            [("admin", ""), ("admin", "hunter"), ("admin", "hunter22"), ("Admin", "hunter2"), ("", "hunter2")]
        {
            assert!(!is_let_in(user, password), "{user}:{password}");
        }
        for other in [Credentials::Bearer("hunter2"), Credentials::Other] {
            assert_eq!(check(&config, &other).unwrap_err().status, 401);
        }
    }
}
