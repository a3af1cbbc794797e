//! `com.atproto.identity.getRecommendedDidCredentials`: what should be in the document of the caller's DID, for it to work
//! here.

use std::collections::BTreeMap;

use atproto::identity::plc::PlcService;
use axum::extract::State;
use common::lifecycle::is_plc;
use serde::Serialize;

use super::find_principal;
use crate::auth::AccessAuth;
use crate::state::AppState;
use crate::xrpc::{Method, XrpcJson, XrpcResult};

/// The method.
pub const METHOD: Method = Method::query("com.atproto.identity.getRecommendedDidCredentials");

/// What should be in it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The operator's and this server's; a document of another kind than `did:plc` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_keys: Option<Vec<String>>,
    also_known_as: Vec<String>,
    verification_methods: BTreeMap<String, String>,
    services: BTreeMap<String, PlcService>,
}

/// Answers in whatever state the account is: somebody who moves here asks before the account is open.
pub async fn handle(State(app): State<AppState>, auth: AccessAuth) -> XrpcResult<Output> {
    let account = find_principal(&app, auth.did()).await?;
    let state = app.lifecycle.recommended_did(&account).await?;
    Ok(XrpcJson(Output {
        // Reference: gives them for a did:web too, where the lexicon says to leave them out.
        rotation_keys: is_plc(&account.did).then_some(state.rotation_keys),
        also_known_as: state.also_known_as,
        verification_methods: state.verification_methods,
        services: state.services,
    }))
}
