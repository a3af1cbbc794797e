//! `com.atproto.admin.searchAccounts`: accounts by e-mail address.

use axum::extract::State;
use common::account::{Accounts, Found, Invites, Search, SearchError};
use serde::{Deserialize, Serialize};

use super::{AccountView, account_views};
use crate::auth::ModeratorAuth;
use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.admin.searchAccounts");

/// What to look for.
#[derive(Deserialize)]
pub struct Params {
    /// The beginning of an address, or `@` and a domain. Without it all accounts are listed, the oldest first.
    email: Option<String>,
    cursor: Option<String>,
    #[serde(default)]
    limit: Limit<1, 100, 50>,
}

/// A page.
#[derive(Serialize)]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    accounts: Vec<AccountView>,
}

/// Answers for accounts in any state.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(invites): State<Invites>,
    XrpcQuery(Params { email, cursor, limit }): XrpcQuery<Params>,
    _auth: ModeratorAuth,
) -> XrpcResult<Output> {
    let search = email.as_deref().map_or(Search::All, Search::email);
    let Found { accounts, cursor } = accounts.search(&search, cursor.as_deref(), limit.get()).await?;
    Ok(XrpcJson(Output { cursor, accounts: account_views(&invites, accounts).await? }))
}

impl From<SearchError> for XrpcError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Cursor => Self::invalid_request(error),
            SearchError::Storage(_) => Self::internal(error),
        }
    }
}
