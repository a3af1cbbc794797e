//! `com.atproto.server.requestEmailUpdate`: the first step to another address.

use axum::extract::State;
use common::account::{Accounts, CodePurpose};
use serde::Serialize;

use super::{require_email, send_code};
use crate::{
    auth::{Checked, FullAuth},
    http::PreferredLanguages,
    xrpc::{Method, NoInput, XrpcJson, XrpcResult},
};

/// The method. How many mails an account may ask for is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.requestEmailUpdate");

/// Whether updateEmail will ask for a code, which is on its way then.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    token_required: bool,
}

/// The code goes to the present address, if that is confirmed.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<FullAuth>,
    languages: PreferredLanguages,
    _: NoInput,
) -> XrpcResult<Output> {
    require_email(&account)?;
    let token_required = account.email_confirmed_at.is_some();
    if token_required {
        send_code(&accounts, &account, CodePurpose::UpdateEmail, languages).await?;
    }
    Ok(XrpcJson(Output { token_required }))
}
