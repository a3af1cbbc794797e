//! `com.atproto.server.requestEmailConfirmation`: mails a code to the account's address.

use axum::extract::State;
use common::account::{Accounts, CodePurpose};

use super::send_code;
use crate::{
    auth::{AccessAuth, Checked},
    http::PreferredLanguages,
    xrpc::{Method, NoInput, XrpcError},
};

/// The method. How many mails an account may ask for is limited: see [`limit`](crate::limit).
pub const METHOD: Method = Method::procedure("com.atproto.server.requestEmailConfirmation");

/// Answers before the mail is sent.
pub async fn handle(
    State(accounts): State<Accounts>,
    Checked { account, .. }: Checked<AccessAuth>,
    languages: PreferredLanguages,
    _: NoInput,
) -> Result<(), XrpcError> {
    send_code(&accounts, &account, CodePurpose::ConfirmEmail, languages).await
}
