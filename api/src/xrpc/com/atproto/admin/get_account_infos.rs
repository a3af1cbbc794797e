//! `com.atproto.admin.getAccountInfos`: accounts as operators see them.

use atproto::syntax::Did;
use axum::extract::State;
use common::account::{Accounts, Invites};
use serde::{Deserialize, Serialize};

use super::{AccountView, account_views};
use crate::auth::ModeratorAuth;
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.admin.getAccountInfos");

/// Which accounts.
#[derive(Deserialize)]
pub struct Params {
    dids: Vec<Did>,
}

/// Those that are here, in the order they were asked for.
#[derive(Serialize)]
pub struct Output {
    infos: Vec<AccountView>,
}

/// Answers for accounts in any state.
pub async fn handle(
    State(accounts): State<Accounts>,
    State(invites): State<Invites>,
    XrpcQuery(Params { dids }): XrpcQuery<Params>,
    _auth: ModeratorAuth,
) -> XrpcResult<Output> {
    let mut details = accounts.list_details(&dids).await.map_err(XrpcError::internal)?;
    details.sort_by_cached_key(|details| dids.iter().position(|did| *did == details.account.did));
    Ok(XrpcJson(Output { infos: account_views(&invites, details).await? }))
}
