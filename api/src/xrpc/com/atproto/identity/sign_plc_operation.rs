//! `com.atproto.identity.signPlcOperation`: a change of the caller's own DID, signed by this server, for the caller to send.

use std::collections::BTreeMap;

use atproto::identity::plc::{Operation, PlcService};
use axum::extract::State;
use common::account::{CodeError, CodePurpose};
use common::lifecycle::PlcChanges;
use serde::{Deserialize, Serialize};

use super::find_principal;
use crate::auth::FullLeavingAuth;
use crate::state::AppState;
use crate::xrpc::{Method, XrpcBody, XrpcError, XrpcJson, XrpcResult, present};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.identity.signPlcOperation");

/// The mailed code, and what is to change.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    #[serde(default, deserialize_with = "present")]
    token: Option<String>,
    #[serde(default, deserialize_with = "present")]
    rotation_keys: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    also_known_as: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    verification_methods: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    services: Option<BTreeMap<String, PlcService>>,
}

/// The signed operation, not sent yet.
#[derive(Serialize)]
pub struct Output {
    operation: Operation,
}

/// The code is used up by whoever gets the signature, and by nobody else: it stays good if the directory cannot be asked, or
/// would not take the change.
pub async fn handle(
    State(app): State<AppState>,
    auth: FullLeavingAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> XrpcResult<Output> {
    let token = input
        .token
        .ok_or_else(|| XrpcError::invalid_request("email confirmation token required to sign PLC operations"))?;
    let account = find_principal(&app, auth.did()).await?;
    if app.accounts.find_code_owner(CodePurpose::PlcOperation, &token).await? != account.id {
        return Err(CodeError::Invalid.into());
    }
    let changes = PlcChanges {
        rotation_keys: input.rotation_keys,
        also_known_as: input.also_known_as,
        verification_methods: input.verification_methods,
        services: input.services,
    };
    let operation = app.lifecycle.draft_plc_operation(&account.did, changes).await?;
    let operation = app.lifecycle.sign_plc_operation(operation).await?;
    app.accounts.consume_code(&account.did, CodePurpose::PlcOperation, &token).await?;
    Ok(XrpcJson(Output { operation }))
}
