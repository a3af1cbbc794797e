//! Changing handles.
//!
//! Owns `handle_change`. A handle is told twice: the DID names it, and the account's row here says whose it is. The DID
//! comes first, since others may refuse; the row second, with the `#identity` event, in the statement
//! `account_handle_change_v1`. Before either, a row of `handle_change` says what is about to happen and keeps the handle
//! free; there is one for an account, so that changes do not overtake each other. If the process dies in between, or Postgres is away, whoever asked may ask again; if nobody does, a worker stores
//! what the directory says ([`Lifecycle::finish_handle_changes`]).

mod store;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use atproto::event::IdentityEvent;
use atproto::identity::plc::{Operation, OperationError, State, UnsignedOperation};
use atproto::syntax::{Did, Handle};
use tracing::Instrument as _;

use super::{Lifecycle, Workflows, is_plc};
use crate::account::{Account, AccountStatus};
use crate::db;
use crate::identity::{HandleRefusal, PlcError, ResolveError};
use crate::keys::RotationKeyError;

/// Changes that one run looks at.
const CHANGES: i64 = 200;

/// Who gives an account its handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandleGiver {
    /// Its owner, who does not get names that are kept back.
    Owner,
    /// The operator.
    Operator,
}

/// Why an account has not got a handle. Except for the last variants the text is what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum UpdateHandleError {
    /// There is no such account, or it is taken down.
    #[error("Account not found")]
    NotFound,
    /// This server does not give the handle away.
    #[error(transparent)]
    Handle(#[from] HandleRefusal),
    /// The handle is of another domain, and does not stand for the DID.
    #[error("External handle did not resolve to DID")]
    Unresolved,
    /// Another account has it, or is about to.
    #[error("Handle already taken: {0}")]
    Taken(Handle),
    /// Another handle is on its way to the account, or may be: what the directory has is known after five minutes at most.
    #[error("Another change of the handle is not finished yet")]
    Busy,
    /// The document of a `did:web` names another handle, which only its owner can change.
    #[error("DID is not properly configured for handle")]
    Unnamed,
    /// The document of a `did:web` cannot be had.
    #[error("cannot get the DID document")]
    Document(#[source] Arc<ResolveError>),
    /// The directory does not know the DID, or it was ended.
    #[error("DID is not registered")]
    Unregistered,
    /// The directory did not take the handle.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The operation could not be built.
    #[error("cannot build a PLC operation")]
    Operation(#[from] OperationError),
    /// The operation was not signed.
    #[error(transparent)]
    RotationKey(#[from] RotationKeyError),
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
    /// The process is shutting down.
    #[error("the change of handle was interrupted")]
    Interrupted,
}

impl Lifecycle {
    /// Gives an account a handle: puts it into the DID, if the directory keeps that, stores it and announces it.
    ///
    /// A handle that it has already is announced again. Of several who want one handle at once, one gets it.
    pub async fn update_handle(
        &self,
        did: &Did,
        handle: &str,
        giver: HandleGiver,
    ) -> Result<Handle, UpdateHandleError> {
        let handles = &self.0.policy.handles;
        let handle = match giver {
            HandleGiver::Owner => handles.check(handle)?,
            HandleGiver::Operator => handles.check_reserved_too(handle)?,
        };
        let (workflows, did) = (Arc::clone(&self.0), did.clone());
        // A task of its own: it goes on when the caller hangs up, so that DID and row agree in the end.
        let tasks = workflows.services.tasks.clone();
        let task = tasks.spawn(async move { workflows.update_handle(&did, handle).await }.in_current_span());
        task.await.map_err(|_| UpdateHandleError::Interrupted)?
    }

    /// Ends the changes of handles that were begun more than five minutes ago and not finished; gives how many. What the
    /// directory says is what counts. What fails is left to the next run.
    pub async fn finish_handle_changes(&self) -> sqlx::Result<usize> {
        let workflows = &*self.0;
        let stale = store::list_stale(&mut *workflows.services.pool.acquire().await?, CHANGES).await?;
        let mut finished = 0;
        for (did, handle) in stale {
            match workflows.finish_change(&did, handle).await {
                Ok(()) => finished += 1,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%did, error, "a change of handle stays unfinished for now");
                }
            }
        }
        Ok(finished)
    }
}

impl Workflows {
    async fn update_handle(&self, did: &Did, handle: Handle) -> Result<Handle, UpdateHandleError> {
        let account = self.services.accounts.find_by_did(did).await?;
        let account = account.filter(|account| account.status != AccountStatus::Takendown);
        let account = account.ok_or(UpdateHandleError::NotFound)?;
        if !self.stands_for(&handle, did).await {
            return Err(UpdateHandleError::Unresolved);
        }
        self.reserve(&account, &handle).await?;
        if let Err(error) = self.name_in_did(did, &handle).await {
            // Of other failures nobody knows whether the directory took it.
            if !matches!(error, UpdateHandleError::Plc(PlcError::Failed { .. } | PlcError::Unreachable(_))) {
                store::delete(&mut *self.services.pool.acquire().await?, account.id, &handle).await?;
            }
            return Err(error);
        }
        self.store_handle(&account, &handle).await?;
        Ok(handle)
    }

    /// Keeps the handle free for the account while the directory is asked.
    async fn reserve(&self, account: &Account, handle: &Handle) -> Result<(), UpdateHandleError> {
        let owner = self.services.accounts.find_by_handle(handle).await?;
        if owner.is_some_and(|owner| owner.id != account.id) {
            return Err(UpdateHandleError::Taken(handle.clone()));
        }
        let reserved = store::upsert(&mut *self.services.pool.acquire().await?, account.id, handle).await;
        if reserved.map_err(|error| taken_or(error, handle))? { Ok(()) } else { Err(UpdateHandleError::Busy) }
    }

    /// Has the DID name the handle. A `did:web` has to do so already.
    ///
    /// Reference: it sends an operation even if the DID names the handle already, which counts towards the directory's
    /// limits.
    async fn name_in_did(&self, did: &Did, handle: &Handle) -> Result<(), UpdateHandleError> {
        if !is_plc(did) {
            let document = self.services.resolver.refresh_document(did).await.map_err(UpdateHandleError::Document)?;
            let named = document.and_then(|document| document.handle());
            return if named.as_ref() == Some(handle) { Ok(()) } else { Err(UpdateHandleError::Unnamed) };
        }
        let (last, mut state) = self.find_state(did).await?;
        if first_name(&state) != Some(handle.as_str()) {
            state.set_handle(handle);
            // It may have been there as a second name, and the directory wants each once.
            let mut seen = HashSet::new();
            state.also_known_as.retain(|name| seen.insert(name.clone()));
            let operation = UnsignedOperation::Update { state: state.clone(), prev: Some(last.cid()?) };
            let operation = self.policy.rotation_key.sign(operation).await?;
            self.services.plc.submit(did, &operation).await?;
        }
        Ok(self.refresh_document(did, &state).await?)
    }

    async fn find_state(&self, did: &Did) -> Result<(Operation, State), UpdateHandleError> {
        let last = self.services.plc.find_last_operation(did).await?.ok_or(UpdateHandleError::Unregistered)?;
        let state = last.state().ok_or(UpdateHandleError::Unregistered)?;
        Ok((last, state))
    }

    /// Stores and announces the handle. If somebody signed up with it meanwhile, the DID gets back the one before.
    async fn store_handle(&self, account: &Account, handle: &Handle) -> Result<(), UpdateHandleError> {
        let did = &account.did;
        let event = IdentityEvent { did: did.clone(), handle: Some(handle.clone()), time: self.event_time() };
        let stored =
            store::update_handle(&mut *self.services.pool.acquire().await?, account.id, handle, &event.encode()).await;
        self.services.accounts.forget(did).await;
        match stored.map_err(|error| taken_or(error, handle)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(UpdateHandleError::NotFound),
            Err(error @ UpdateHandleError::Taken(_)) => {
                if let Some(before) = &account.handle {
                    self.name_in_did(did, before).await?;
                }
                store::delete(&mut *self.services.pool.acquire().await?, account.id, handle).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn finish_change(&self, did: &Did, handle: Handle) -> Result<(), UpdateHandleError> {
        let Some(account) = self.services.accounts.find_by_did(did).await? else { return Ok(()) };
        let is_told = is_plc(did)
            && match self.find_state(did).await {
                Ok((_, state)) => first_name(&state) == Some(handle.as_str()),
                Err(UpdateHandleError::Unregistered) => false,
                Err(error) => return Err(error),
            };
        if is_told && account.handle.as_ref() != Some(&handle) {
            match self.store_handle(&account, &handle).await {
                Err(UpdateHandleError::Taken(_) | UpdateHandleError::NotFound) | Ok(()) => Ok(()),
                Err(error) => Err(error),
            }
        } else {
            Ok(store::delete(&mut *self.services.pool.acquire().await?, account.id, &handle).await?)
        }
    }

    /// True if nothing speaks against it that `handle` stands for `did`: below our domains we say so, elsewhere its owner.
    pub(super) async fn stands_for(&self, handle: &Handle, did: &Did) -> bool {
        self.policy.handles.is_service_handle(handle)
            || self.services.handle_resolver.find_did_of_owner(handle).await.as_ref() == Some(did)
    }
}

/// The handle that a DID names, as it is written.
fn first_name(state: &State) -> Option<&str> {
    state.also_known_as.iter().find_map(|name| name.strip_prefix("at://"))
}

/// Tells that somebody else has the handle from other refusals.
fn taken_or(error: sqlx::Error, handle: &Handle) -> UpdateHandleError {
    let is_taken = ["account_handle_key", "handle_change_handle_key"].iter().any(|key| db::violates(&error, key));
    if is_taken { UpdateHandleError::Taken(handle.clone()) } else { error.into() }
}
