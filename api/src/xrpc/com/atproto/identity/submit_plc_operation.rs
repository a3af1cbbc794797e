//! `com.atproto.identity.submitPlcOperation`: sends a signed change of the caller's own DID to the directory.

use atproto::identity::plc::Operation;
use axum::extract::State;
use common::lifecycle::PlcOperationError;
use serde::Deserialize;
use serde_json::Value;

use super::find_principal;
use crate::auth::AccessAuth;
use crate::state::AppState;
use crate::xrpc::{Method, XrpcBody, XrpcError};

/// The method.
pub const METHOD: Method = Method::procedure("com.atproto.identity.submitPlcOperation");

/// The operation.
#[derive(Deserialize)]
pub struct Input {
    operation: Value,
}

/// Takes nothing that would part the DID from its account here; to move away, send the operation to the directory or to the
/// new server.
pub async fn handle(
    State(app): State<AppState>,
    auth: AccessAuth,
    XrpcBody(input): XrpcBody<Input>,
) -> Result<(), XrpcError> {
    let operation = Operation::try_from(input.operation).map_err(|_| PlcOperationError::Invalid)?;
    let account = find_principal(&app, auth.did()).await?;
    Ok(app.lifecycle.submit_plc_operation(account, operation).await?)
}
