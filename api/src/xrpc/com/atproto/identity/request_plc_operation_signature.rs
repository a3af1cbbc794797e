//! `com.atproto.identity.requestPlcOperationSignature`: has a code mailed, with which the caller's own DID may be changed.

use axum::extract::State;
use common::account::CodePurpose;
use common::lifecycle::{PlcOperationError, is_plc};

use super::super::server::send_code;
use super::find_account;
use crate::auth::FullLeavingAuth;
use crate::http::PreferredLanguages;
use crate::state::AppState;
use crate::xrpc::{Method, NoInput, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.identity.requestPlcOperationSignature");

/// Answers before the mail is sent; also the owner of a taken-down account, who may take it elsewhere.
pub async fn handle(
    State(app): State<AppState>,
    auth: FullLeavingAuth,
    languages: PreferredLanguages,
    _: NoInput,
) -> Result<(), XrpcError> {
    let account = find_account(&app, auth.did()).await?;
    if !is_plc(&account.did) {
        return Err(PlcOperationError::NotPlc.into());
    }
    send_code(&app.accounts, &account, CodePurpose::PlcOperation, languages).await
}
