//! Callers whose account was looked up.

use axum::extract::{FromRef, FromRequestParts};
use common::account::{Account, AccountStatus, Accounts};
use http::request::Parts;

use super::access::SessionAuth;
use crate::xrpc::XrpcError;

/// A session whose account is there and was not taken down.
///
/// # Errors
/// 403 `AccountNotFound`, 401 `AccountTakedown`, and those of the session `A`.
#[derive(Clone, Debug)]
pub struct Checked<A> {
    /// The session.
    pub auth: A,
    /// The account, as of now.
    pub account: Account,
}

/// A session whose account is open.
///
/// # Errors
/// 401 `AccountDeactivated`, and those of [`Checked`].
#[derive(Clone, Debug)]
pub struct Active<A> {
    /// The session.
    pub auth: A,
    /// The account, as of now.
    pub account: Account,
}

impl<S, A> FromRequestParts<S> for Checked<A>
where
    S: Send + Sync,
    A: SessionAuth + FromRequestParts<S, Rejection = XrpcError> + Send,
    Accounts: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let auth = A::from_request_parts(parts, state).await?;
        let account = Accounts::from_ref(state).find_by_did(auth.did()).await.map_err(XrpcError::internal)?;
        let account = account.ok_or_else(account_not_found)?;
        match account.status {
            AccountStatus::Takendown => Err(account_taken_down()),
            AccountStatus::Active | AccountStatus::Deactivated => Ok(Self { auth, account }),
        }
    }
}

impl<S, A> FromRequestParts<S> for Active<A>
where
    S: Send + Sync,
    A: SessionAuth + FromRequestParts<S, Rejection = XrpcError> + Send,
    Accounts: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let Checked { auth, account } = Checked::<A>::from_request_parts(parts, state).await?;
        if account.status == AccountStatus::Deactivated {
            return Err(account_deactivated());
        }
        Ok(Self { auth, account })
    }
}

/// 403 for an account that is gone.
pub fn account_not_found() -> XrpcError {
    XrpcError::forbidden("AccountNotFound", "Account not found")
}

/// 401 for an account that a moderator closed.
pub fn account_taken_down() -> XrpcError {
    XrpcError::unauthorized("AccountTakedown", "Account has been taken down")
}

/// 401 for an account that its owner closed.
pub fn account_deactivated() -> XrpcError {
    XrpcError::unauthorized("AccountDeactivated", "Account is deactivated")
}

#[cfg(test)]
mod tests {
    use common::testing::seed;
    use http::Request;

    use super::*;
    use crate::auth::{AccessAuth, AccessScope, FullAuth, FullLeavingAuth, LeavingAuth};
    use crate::state::AppState;
    use crate::testing::TestApi;

    async fn call<A>(app: &AppState, token: &str) -> Result<A, (u16, String)>
    where
        A: FromRequestParts<AppState, Rejection = XrpcError>,
    {
        let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let result = A::from_request_parts(&mut parts, app).await;
        result.map_err(|error| (error.status.as_u16(), error.name.into_owned()))
    }

    /// Whether the extractors accept a token, in the order of the columns below.
    async fn accepted(app: &AppState, token: &str) -> [bool; 4] {
        let results = [
            call::<AccessAuth>(app, token).await.map(drop),
            call::<FullAuth>(app, token).await.map(drop),
            call::<LeavingAuth>(app, token).await.map(drop),
            call::<FullLeavingAuth>(app, token).await.map(drop),
        ];
        results.map(|result| match result {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error, (400, "InvalidToken".to_owned()));
                false
            }
        })
    }

    #[tokio::test]
    async fn each_session_is_accepted_where_its_scope_is() {
        let api = TestApi::start().await;
        let alice = api.create_account("alice").await.did.parse().unwrap();
        for (scope, expected) in [
            (AccessScope::Full, [true, true, true, true]),
            (AccessScope::AppPassPrivileged, [true, false, true, false]),
            (AccessScope::AppPass, [true, false, true, false]),
            (AccessScope::Takendown, [false, false, true, true]),
        ] {
            let token = api.app().tokens.issue_access(&alice, scope).unwrap();
            assert_eq!(accepted(api.app(), &token).await, expected, "{scope:?}");
        }
    }

    #[tokio::test]
    async fn accounts_are_looked_at() {
        let api = TestApi::start().await;
        let (app, pool) = (api.app(), api.db.pool());
        let alice = api.create_account("alice").await;
        let states = async || {
            [
                call::<Checked<AccessAuth>>(app, &alice.access).await.map(|caller| caller.account.did.to_string()),
                call::<Active<FullAuth>>(app, &alice.access).await.map(|caller| caller.account.did.to_string()),
            ]
        };
        let error = |status, name: &str| Err((status, name.to_owned()));
        assert_eq!(states().await, [Ok(alice.did.clone()), Ok(alice.did.clone())]);
        seed::set_deactivated(&pool, &alice.did, true).await;
        assert_eq!(states().await, [Ok(alice.did.clone()), error(401, "AccountDeactivated")]);
        seed::set_taken_down(&pool, &alice.did, true).await;
        assert_eq!(states().await, [error(401, "AccountTakedown"), error(401, "AccountTakedown")]);
        seed::delete_account(&pool, &alice.did).await;
        assert_eq!(states().await, [error(403, "AccountNotFound"), error(403, "AccountNotFound")]);
    }
}
