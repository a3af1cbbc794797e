//! `com.atproto.admin.getSubjectStatus`: whether an account, a record or a blob is taken down.

use atproto::data::Cid;
use atproto::syntax::{AtUri, Did};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{BLOB, RECORD, REPO, StatusAttr, record_of};
use crate::auth::ModeratorAuth;
use crate::state::AppState;
use crate::xrpc::{Method, XrpcError, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.admin.getSubjectStatus");

/// One of: a DID and a blob's CID, the address of a record, a DID.
#[derive(Deserialize)]
pub struct Params {
    did: Option<Did>,
    uri: Option<AtUri>,
    blob: Option<Cid>,
}

/// How it stands.
#[derive(Serialize)]
pub struct Output {
    subject: Value,
    takedown: StatusAttr,
    /// Of an account only.
    #[serde(skip_serializing_if = "Option::is_none")]
    deactivated: Option<StatusAttr>,
}

/// Answers for accounts in any state.
pub async fn handle(
    State(app): State<AppState>,
    XrpcQuery(params): XrpcQuery<Params>,
    _auth: ModeratorAuth,
) -> XrpcResult<Output> {
    let status = match (params.did, params.uri, params.blob) {
        (Some(did), _, Some(cid)) => of_blob(&app, did, cid).await?,
        (None, _, Some(_)) => {
            return Err(XrpcError::invalid_request("Must provide a did to request blob state"));
        }
        (_, Some(uri), None) => of_record(&app, &uri).await?,
        (Some(did), None, None) => of_account(&app, did).await?,
        (None, None, None) => return Err(XrpcError::invalid_request("No provided subject")),
    };
    status.map(XrpcJson).ok_or_else(|| XrpcError::bad_request("NotFound", "Subject not found"))
}

async fn of_blob(app: &AppState, did: Did, cid: Cid) -> Result<Option<Output>, XrpcError> {
    let mark = app.blobs.find_mark(&did, cid).await.map_err(XrpcError::internal)?;
    Ok(mark.map(|mark| Output {
        subject: json!({ "$type": BLOB, "did": did, "cid": cid }),
        takedown: StatusAttr::under(mark.takedown_ref),
        deactivated: None,
    }))
}

async fn of_record(app: &AppState, uri: &AtUri) -> Result<Option<Output>, XrpcError> {
    let (did, path) = record_of(app, uri).await?;
    let mark = app.repos.find_mark(&did, &path).await.map_err(XrpcError::internal)?;
    Ok(mark.map(|mark| Output {
        subject: json!({ "$type": RECORD, "uri": uri, "cid": mark.cid }),
        takedown: StatusAttr::under(mark.takedown_ref),
        deactivated: None,
    }))
}

async fn of_account(app: &AppState, did: Did) -> Result<Option<Output>, XrpcError> {
    let details = app.accounts.find_details(&did).await.map_err(XrpcError::internal)?;
    Ok(details.map(|details| Output {
        subject: json!({ "$type": REPO, "did": did }),
        takedown: StatusAttr::under(details.takedown_ref),
        deactivated: Some(StatusAttr { applied: details.deactivated_at.is_some(), reference: None }),
    }))
}
