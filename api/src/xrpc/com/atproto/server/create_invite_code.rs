//! `com.atproto.server.createInviteCode`: an invitation code.

use atproto::syntax::Did;
use axum::extract::State;
use common::account::{Invites, NewInvites};
use common::audit::Actor;
use serde::{Deserialize, Serialize};

use crate::auth::AdminAuth;
use crate::xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.createInviteCode");

/// How often it may be used, and whose it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    use_count: i64,
    for_account: Option<Did>,
}

/// The code.
#[derive(Serialize)]
pub struct Output {
    code: String,
}

/// Makes one.
pub async fn handle(
    State(invites): State<Invites>,
    _auth: AdminAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    let accounts = input.for_account.into_iter().collect();
    let new = NewInvites { codes: 1, uses: super::saturated(input.use_count), accounts };
    let made = invites.create(&Actor::Admin, &new).await?;
    let code = made.into_iter().flat_map(|owned| owned.codes).next();
    let code = code.ok_or_else(|| XrpcError::internal("no code was made"))?;
    Ok(XrpcJson(Output { code }))
}
