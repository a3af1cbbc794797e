//! `com.atproto.server.createAccount`: a new account with a new DID, signed in.

use std::sync::Arc;

use atproto::{identity::DidDocument, syntax::Did};
use axum::extract::State;
use common::{
    identity::{HandleRefusal, PlcError},
    lifecycle::{CreateAccountError, NewAccount},
};
use http::{HeaderMap, header::AUTHORIZATION};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    auth::AccessScope,
    state::AppState,
    xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult},
};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.server.createAccount");

/// Who signs up. `verificationCode` and `verificationPhone` are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    handle: String,
    email: Option<String>,
    password: Option<SecretString>,
    invite_code: Option<String>,
    did: Option<Did>,
    recovery_key: Option<String>,
    plc_op: Option<IgnoredAny>,
}

/// The account and its first session.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    access_jwt: String,
    refresh_jwt: String,
    handle: String,
    did: Did,
    #[serde(skip_serializing_if = "Option::is_none")]
    did_doc: Option<DidDocument>,
}

/// Moving an account here (`did`) and accounts made by an entryway (`plcOp`) are not supported yet.
pub async fn handle(
    State(app): State<AppState>,
    headers: HeaderMap,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    if input.plc_op.is_some() {
        return Err(XrpcError::invalid_request("Unsupported input: \"plcOp\""));
    }
    let new = NewAccount {
        handle: input.handle,
        email: input.email,
        password: input.password,
        invite_code: input.invite_code,
        recovery_key: input.recovery_key,
        did: input.did,
    };
    let account = match app.lifecycle.create_account(new).await {
        Ok(account) => account,
        Err(CreateAccountError::DidUnproven(_)) if headers.contains_key(AUTHORIZATION) => {
            return Err(XrpcError::invalid_request("This server does not take in accounts from elsewhere yet"));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(XrpcJson(Output {
        access_jwt: app.tokens.issue_access(&account.did, AccessScope::Full)?,
        refresh_jwt: app.tokens.issue_refresh(&account.did, &account.refresh_token)?,
        handle: account.handle.into(),
        did: account.did,
        did_doc: account.document.map(Arc::unwrap_or_clone),
    }))
}

impl From<CreateAccountError> for XrpcError {
    fn from(error: CreateAccountError) -> Self {
        use CreateAccountError as Error;
        match error {
            Error::InviteMissing | Error::InviteNotAvailable => Self::bad_request("InvalidInviteCode", error),
            Error::Handle(refusal) => refusal.into(),
            Error::PasswordTooLong
            | Error::EmailMissing
            | Error::EmailUnsupported
            | Error::HandleTaken(_)
            | Error::EmailTaken(_)
            | Error::RecoveryKey => Self::invalid_request(error),
            Error::DidUnproven(_) => Self::auth_required(error),
            Error::Plc(error) => error.into(),
            Error::Genesis(_)
            | Error::Operation(_)
            | Error::Password(_)
            | Error::Seal(_)
            | Error::Storage(_)
            | Error::Interrupted => Self::internal(error),
        }
    }
}

impl From<HandleRefusal> for XrpcError {
    fn from(refusal: HandleRefusal) -> Self {
        match refusal {
            HandleRefusal::Syntax(_) | HandleRefusal::Invalid(_) => Self::bad_request("InvalidHandle", refusal),
            HandleRefusal::Reserved => Self::bad_request("HandleNotAvailable", refusal),
            HandleRefusal::UnsupportedDomain => Self::bad_request("UnsupportedDomain", refusal),
        }
    }
}

impl From<PlcError> for XrpcError {
    fn from(error: PlcError) -> Self {
        match error {
            PlcError::Refused { .. } => Self::invalid_request(error),
            PlcError::Failed { .. } => Self::upstream_failure(error),
            PlcError::Unreachable(_) | PlcError::Document(_) | PlcError::Operation(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "PLC directory");
                Self::upstream_failure("Unable to perform PLC operation")
            }
        }
    }
}
