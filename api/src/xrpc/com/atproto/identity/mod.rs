//! `com.atproto.identity.*`: handles, DID documents and PLC operations.

pub mod get_recommended_did_credentials;
pub mod refresh_identity;
pub mod request_plc_operation_signature;
pub mod resolve_did;
pub mod resolve_handle;
pub mod resolve_identity;
pub mod sign_plc_operation;
pub mod submit_plc_operation;
pub mod update_handle;

use std::error::Error as StdError;
use std::sync::Arc;

use atproto::identity::DidDocument;
use atproto::syntax::{AtIdentifier, Did, Handle};
use common::account::{Account, Principal};
use common::http::FetchError;
use common::identity::{PlcError, ResolveError};
use common::lifecycle::PlcOperationError;
use serde::Serialize;

use crate::state::AppState;
use crate::xrpc::{Routes, Shared, XrpcError, xrpc_errors};

/// Adds this namespace's methods.
pub(in crate::xrpc) fn register(routes: &mut Routes) {
    routes.add(get_recommended_did_credentials::METHOD, get_recommended_did_credentials::handle);
    routes.add(refresh_identity::METHOD, refresh_identity::handle);
    routes.add(request_plc_operation_signature::METHOD, request_plc_operation_signature::handle);
    routes.add(resolve_did::METHOD, resolve_did::handle);
    routes.add(resolve_handle::METHOD, resolve_handle::handle);
    routes.add(resolve_identity::METHOD, resolve_identity::handle);
    routes.add(sign_plc_operation::METHOD, sign_plc_operation::handle);
    routes.add(submit_plc_operation::METHOD, submit_plc_operation::handle);
    routes.add(update_handle::METHOD, update_handle::handle);
}

/// Who a DID or handle stands for: `com.atproto.identity.defs#identityInfo`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityInfo {
    did: Did,
    /// The handle of the document if it leads back to the DID, else `handle.invalid`.
    handle: String,
    did_doc: Shared<DidDocument>,
}

/// Errors that the lexicons of these methods declare.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The handle stands for no DID.
    #[error("Unable to resolve handle")]
    HandleNotFound,
    /// The DID has no document, or is of a method that the network does not use.
    #[error("Unable to resolve DID: {0}")]
    DidNotFound(Did),
    /// The DID's owner has ended it.
    #[error("DID has been deactivated: {0}")]
    DidDeactivated(Did),
}

xrpc_errors!(Error: HandleNotFound, DidNotFound, DidDeactivated);

/// How new an answer must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Freshness {
    /// As the caches have it.
    Cached,
    /// As it is now; what is found goes into the caches.
    Now,
}

/// The DID of a handle: this server knows those of its active accounts, and asks around for the rest. Nobody else can say
/// whose a handle below one of our domains is.
async fn find_did(app: &AppState, handle: &Handle, freshness: Freshness) -> Result<Option<Did>, XrpcError> {
    let account = app.accounts.find_by_handle(handle).await.map_err(XrpcError::internal)?;
    if let Some(account) = account.filter(|account| account.status.is_active()) {
        return Ok(Some(account.did));
    }
    if app.lifecycle.handles().is_service_handle(handle) {
        return Ok(None);
    }
    Ok(match freshness {
        Freshness::Cached => app.handle_resolver.find_did_lately(handle).await,
        Freshness::Now => app.handle_resolver.find_did(handle).await,
    })
}

/// The document of a DID, the same at every replica.
async fn find_document(app: &AppState, did: &Did, freshness: Freshness) -> Result<Arc<DidDocument>, XrpcError> {
    let found = match freshness {
        Freshness::Cached => app.resolver.find_shared_document(did).await,
        Freshness::Now => app.resolver.refresh_document(did).await,
    };
    match found {
        Ok(Some(document)) => Ok(document),
        Ok(None) => Err(Error::DidNotFound(did.clone()).into()),
        Err(error) => Err(unresolved(did, &error)),
    }
}

/// Everything about who `identifier` stands for.
async fn find_identity(
    app: &AppState,
    identifier: &AtIdentifier,
    freshness: Freshness,
) -> Result<IdentityInfo, XrpcError> {
    let did = match identifier {
        AtIdentifier::Did(did) => did.clone(),
        AtIdentifier::Handle(handle) => find_did(app, handle, freshness).await?.ok_or(Error::HandleNotFound)?,
    };
    let document = find_document(app, &did, freshness).await?;
    let handle = match document.handle() {
        // It led here.
        Some(claimed) if identifier.as_handle() == Some(&claimed) => Some(claimed),
        Some(claimed) => {
            let leads_to = find_did(app, &claimed, freshness).await?;
            (leads_to.as_ref() == Some(&did)).then_some(claimed)
        }
        None => None,
    };
    let handle = handle.map_or_else(|| Handle::INVALID.to_owned(), String::from);
    Ok(IdentityInfo { did, handle, did_doc: Shared(document) })
}

/// The caller's account, in whatever state.
async fn find_account(app: &AppState, did: &Did) -> Result<Account, XrpcError> {
    let account = app.accounts.find_by_did(did).await.map_err(XrpcError::internal)?;
    account.ok_or_else(|| PlcOperationError::AccountGone.into())
}

/// As [`find_account`], as far as it acts.
async fn find_principal(app: &AppState, did: &Did) -> Result<Principal, XrpcError> {
    find_account(app, did).await.map(Principal::from)
}

/// What to answer when a document could not be had.
fn unresolved(did: &Did, error: &Arc<ResolveError>) -> XrpcError {
    let message = format!("Unable to resolve DID: {did}");
    match &**error {
        ResolveError::Deactivated => Error::DidDeactivated(did.clone()).into(),
        ResolveError::Storage(_) => XrpcError::internal(Arc::clone(error)),
        ResolveError::Web(FetchError::Blocked(_)) => XrpcError::invalid_request(message),
        ResolveError::Plc(PlcError::Resting) => XrpcError::resting(PlcError::Resting),
        ResolveError::Plc(PlcError::Unreachable(cause)) | ResolveError::Web(cause) if cause.is_timeout() => {
            XrpcError::upstream_timeout(message)
        }
        ResolveError::Timeout => XrpcError::upstream_timeout(message),
        ResolveError::Plc(_) | ResolveError::Web(_) | ResolveError::Document(_) => {
            tracing::debug!(%did, error = &**error as &dyn StdError, "no DID document");
            XrpcError::upstream_failure(message)
        }
    }
}

impl From<PlcOperationError> for XrpcError {
    fn from(error: PlcOperationError) -> Self {
        use PlcOperationError as Error;

        match error {
            Error::NotPlc
            | Error::Unregistered
            | Error::Tombstoned
            | Error::Invalid
            | Error::OverLimit(_)
            | Error::Estranges(_) => Self::invalid_request(error),
            Error::AccountGone => Self::forbidden("AccountNotFound", error),
            Error::Plc(error) => error.into(),
            Error::RotationKey(error) => error.into(),
            Error::Storage(_) | Error::Interrupted => Self::internal(error),
        }
    }
}
