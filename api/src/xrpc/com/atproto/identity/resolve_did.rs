//! `com.atproto.identity.resolveDid`: the document of a DID.

use atproto::identity::DidDocument;
use atproto::syntax::Did;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{Freshness, find_document};
use crate::state::AppState;
use crate::xrpc::{Method, Shared, XrpcJson, XrpcQuery, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.identity.resolveDid");

/// Which DID.
#[derive(Deserialize)]
pub struct Params {
    did: Did,
}

/// Its document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    did_doc: Shared<DidDocument>,
}

/// Answers for any DID, from the cache if it is there. The reference does not have this method.
pub async fn handle(State(app): State<AppState>, XrpcQuery(Params { did }): XrpcQuery<Params>) -> XrpcResult<Output> {
    let document = find_document(&app, &did, Freshness::Cached).await?;
    Ok(XrpcJson(Output { did_doc: Shared(document) }))
}
