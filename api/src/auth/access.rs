//! Callers with an access token.
//!
//! | Extractor | Sessions it accepts |
//! |---|---|
//! | [`AccessAuth`] | main password, app password |
//! | [`FullAuth`] | main password |
//! | [`LeavingAuth`] | as [`AccessAuth`], and of a taken-down user |
//! | [`FullLeavingAuth`] | as [`FullAuth`], and of a taken-down user |
//!
//! Each looks at the token only: the account may have been closed, or be gone, since it was issued. It charges the call to
//! the limits of the account. Around one of them,
//! [`Checked`](super::Checked) and [`Active`](super::Active) look at the account too.

use atproto::syntax::Did;
use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::header::require_bearer;
use super::tokens::{AccessScope, AccessToken, SessionTokens, TokenError};
use crate::limit::charge_caller;
use crate::xrpc::XrpcError;

/// A caller with a session.
pub trait SessionAuth {
    /// The account.
    fn did(&self) -> &Did;
}

/// Makes an extractor of the sessions whose scope is accepted.
macro_rules! session_auth {
    ($(#[$doc:meta])* $name:ident, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(AccessToken);

        impl $name {
            /// The account.
            pub fn did(&self) -> &Did {
                &self.0.did
            }

            /// How much the session may do.
            pub fn scope(&self) -> AccessScope {
                self.0.scope
            }
        }

        impl SessionAuth for $name {
            fn did(&self) -> &Did {
                self.did()
            }
        }

        impl<S> FromRequestParts<S> for $name
        where
            S: Sync,
            SessionTokens: FromRef<S>,
        {
            type Rejection = XrpcError;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
                let token = read(parts, &SessionTokens::from_ref(state), $accepts)?;
                charge_caller(parts, &token.did).await?;
                Ok(Self(token))
            }
        }
    };
}

session_auth! {
    /// A session opened with the main password or an app password.
    AccessAuth, AccessScope::is_standard
}

session_auth! {
    /// A session opened with the main password.
    FullAuth, |scope| scope == AccessScope::Full
}

session_auth! {
    /// A session opened with the main password or an app password, or by a taken-down user.
    ///
    /// For what a taken-down user needs to move away.
    LeavingAuth, |scope| scope.is_standard() || scope == AccessScope::Takendown
}

session_auth! {
    /// A session opened with the main password, also by a taken-down user.
    ///
    /// For what a taken-down user needs to move away.
    FullLeavingAuth, |scope| matches!(scope, AccessScope::Full | AccessScope::Takendown)
}

fn read(
    parts: &Parts,
    tokens: &SessionTokens,
    accepts: impl Fn(AccessScope) -> bool,
) -> Result<AccessToken, XrpcError> {
    let token = tokens.read_access(require_bearer(parts)?)?;
    if accepts(token.scope) { Ok(token) } else { Err(TokenError::Scope.into()) }
}
