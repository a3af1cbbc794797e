//! `com.atproto.admin.getInviteCodes`: all invitation codes, the newest or the most used first.

use std::fmt;
use std::str::FromStr;

use axum::extract::State;
use common::account::{InviteOrder, InvitePlace, Invites};
use serde::{Deserialize, Serialize};

use super::InviteView;
use crate::auth::ModeratorAuth;
use crate::xrpc::{Limit, Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.admin.getInviteCodes");

/// Which page.
#[derive(Deserialize)]
pub struct Params {
    #[serde(default)]
    sort: Sort,
    #[serde(default)]
    limit: Limit<1, 500, 100>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Recent,
    Usage,
}

/// A page.
#[derive(Serialize)]
pub struct Output {
    /// There on every page that is not empty: the end is an empty page.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    codes: Vec<InviteView>,
}

/// The place of a code in the list, `<number>::<code>`.
struct Cursor(InvitePlace);

impl FromStr for Cursor {
    type Err = XrpcError;

    fn from_str(text: &str) -> Result<Self, XrpcError> {
        let parse = || {
            let (rank, code) = text.split_once("::").filter(|(_, code)| !code.contains('\0'))?;
            let rank = rank.parse::<u64>().ok()?.try_into().ok()?;
            Some(Self(InvitePlace { rank, code: code.to_owned() }))
        };
        parse().ok_or_else(|| XrpcError::invalid_request("Malformed cursor"))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.0.rank, self.0.code)
    }
}

/// Answers with stopped codes too.
pub async fn handle(
    State(invites): State<Invites>,
    XrpcQuery(Params { sort, limit, cursor }): XrpcQuery<Params>,
    _auth: ModeratorAuth,
) -> XrpcResult<Output> {
    let order = match sort {
        Sort::Recent => InviteOrder::Recent,
        Sort::Usage => InviteOrder::Usage,
    };
    let after = cursor.map(|cursor| cursor.parse::<Cursor>()).transpose()?;
    let page = invites.list(order, after.as_ref().map(|cursor| &cursor.0), limit.get()).await;
    let page = page.map_err(XrpcError::internal)?;
    let cursor = page.last().map(|last| Cursor(InvitePlace::of(order, last)).to_string());
    Ok(XrpcJson(Output { cursor, codes: page.into_iter().map(InviteView::from).collect() }))
}
