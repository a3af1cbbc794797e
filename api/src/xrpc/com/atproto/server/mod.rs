//! `com.atproto.server.*`: the server itself, accounts and sessions.

pub mod create_account;
pub mod create_session;
pub mod delete_session;
pub mod describe_server;
pub mod get_session;
pub mod refresh_session;

use std::sync::Arc;

use atproto::{identity::DidDocument, syntax::Did};
use common::account::Account;
use serde::Serialize;

use crate::{
    state::AppState,
    xrpc::{Routes, XrpcError},
};

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(create_account::METHOD, create_account::handle);
    routes.add(create_session::METHOD, create_session::handle);
    routes.add(delete_session::METHOD, delete_session::handle);
    routes.add(describe_server::METHOD, describe_server::handle);
    routes.add(get_session::METHOD, get_session::handle);
    routes.add(refresh_session::METHOD, refresh_session::handle);
}

/// A session: its tokens, and whose it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionOutput {
    access_jwt: String,
    refresh_jwt: String,
    #[serde(flatten)]
    view: SessionView,
}

/// Whose a session is, as they may see it themselves.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    handle: String,
    did: Did,
    #[serde(skip_serializing_if = "Option::is_none")]
    did_doc: Option<DidDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_confirmed: bool,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl SessionView {
    /// The DID document is there if the operator wants it (`PDS_ENABLE_DID_DOC_WITH_SESSION`) and it can be had.
    async fn new(app: &AppState, account: Account) -> Self {
        let document = if app.config.identity.did_doc_with_session {
            app.resolver.find_document(&account.did).await.ok().flatten()
        } else {
            None
        };
        Self {
            handle: account.shown_handle().to_owned(),
            did_doc: document.map(Arc::unwrap_or_clone),
            email_confirmed: account.email_confirmed_at.is_some(),
            active: account.status.is_active(),
            status: account.status.wire_name(),
            did: account.did,
            email: account.email,
        }
    }
}

/// 401 for an account that a moderator closed.
fn taken_down() -> XrpcError {
    XrpcError::unauthorized("AccountTakedown", "Account has been taken down")
}

/// 400 for a token whose account is not there, or not to be seen.
fn no_user_info(did: &Did) -> XrpcError {
    XrpcError::invalid_request(format_args!("Could not find user info for account: {did}"))
}
