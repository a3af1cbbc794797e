//! Changing and announcing who an account is.

use std::fmt::Display;
use std::future::Future;

use atproto::crypto::PublicKey;
use atproto::syntax::{Did, Handle};
use serde_json::json;
use tracing::Instrument as _;

use super::Administration;
use crate::audit::{Act, Action, Actor, Subject};
use crate::lifecycle::{HandleGiver, PlcOperationError, UpdateHandleError};

impl Administration {
    /// Gives an account a handle, also one that is kept back.
    pub async fn update_handle(&self, actor: &Actor, did: &Did, handle: &str) -> Result<Handle, UpdateHandleError> {
        // What is refused at once is no act.
        let handle = self.lifecycle.handles().check_reserved_too(handle)?;
        let account = self.accounts.find_by_did(did).await?.ok_or(UpdateHandleError::NotFound)?;
        let act = Act::new(actor.clone(), Action::UpdateHandle, Subject::Account(did.clone()))
            .from(json!({ "handle": account.handle }))
            .to(json!({ "handle": handle }));
        let (lifecycle, did) = (self.lifecycle.clone(), did.clone());
        let work = async move { lifecycle.update_handle(&did, handle.as_str(), HandleGiver::Operator).await };
        self.witness(act, work).await
    }

    /// Has the DID of an account name the key that the account signs with here, which must be `key`.
    pub async fn update_signing_key(&self, actor: &Actor, did: &Did, key: PublicKey) -> Result<(), PlcOperationError> {
        let account = self.accounts.find_principal_now(did).await?.ok_or(PlcOperationError::AccountGone)?;
        let before = self.lifecycle.named_signing_key(&account).await?;
        let act = Act::new(actor.clone(), Action::UpdateSigningKey, Subject::Account(did.clone()))
            .from(json!({ "signingKey": before }))
            .to(json!({ "signingKey": key.to_string() }));
        let lifecycle = self.lifecycle.clone();
        self.witness(act, async move { lifecycle.name_signing_key(account, &key).await }).await
    }

    /// Announces an account's identity once more, upon which readers resolve handle and DID anew. False if there is none.
    pub async fn announce_identity(&self, actor: &Actor, did: &Did) -> sqlx::Result<bool> {
        self.announce(did, Some(actor)).await
    }

    /// As [`Administration::announce_identity`], without an entry of its own: for whoever announces many, and notes that
    /// once.
    pub async fn announce_unnoted(&self, did: &Did) -> sqlx::Result<bool> {
        self.announce(did, None).await
    }

    async fn announce(&self, did: &Did, actor: Option<&Actor>) -> sqlx::Result<bool> {
        let Some(account) = self.accounts.find_principal_now(did).await? else { return Ok(false) };
        Ok(self.lifecycle.announcements().announce(&account, actor).await?.is_some())
    }

    /// Does work that reaches outside of the database, noted before and after. It goes on when the caller hangs up, so that
    /// the log says how it ended.
    async fn witness<T, E>(&self, act: Act, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<sqlx::Error> + Display + Send + 'static,
    {
        let audit = self.audit.clone();
        let task = self.tasks.spawn(async move { audit.witness(&act, work).await }.in_current_span());
        task.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }
}
