//! Sign-up: accounts with a new DID, and accounts that move here with the DID they have.
//!
//! Owns `account_draft`. For a **new DID** three parties have to agree: the directory that makes the DID, Postgres that
//! makes the account, and the caller. The DID comes first, the account second. Before either, a row of `account_draft`
//! says what is about to happen; the statement that makes the account removes it. So, whatever dies in between:
//!
//! | Dies | Left behind | What happens |
//! |---|---|---|
//! | before the directory hears | a draft | forgotten after an hour |
//! | after that, or its answer is lost | a draft, a DID | the DID is ended, by this process if it lives, else by a worker ([`Lifecycle::undo_unfinished`]) |
//! | after the account is stored | nothing | the account stands; its owner signs in |
//!
//! An **own DID** is proven by a token that its key signed. No operation is made; the account starts closed, under a new
//! signing key or the one that was reserved for the DID, and [`Lifecycle::activate`] opens it once the DID points here.
//! Until then nothing is announced.

mod check;
mod draft;
mod error;
mod store;
mod unfinished;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use atproto::identity::DidDocument;
use atproto::syntax::{Did, Handle};
use secrecy::SecretString;
use tracing::Instrument as _;

use self::draft::Draft;
use super::{Lifecycle, Workflows};
use crate::account::AccountId;
use crate::audit::Actor;
use crate::db;
use crate::identity::PlcError;
use crate::session::RefreshToken;
pub use error::CreateAccountError;

/// What somebody who signs up says of themselves, unchecked.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The handle they want.
    pub handle: String,
    /// Their e-mail address.
    pub email: Option<String>,
    /// Their password. Without one nobody can sign in after the first session.
    pub password: Option<SecretString>,
    /// An invitation code; looked at only where one is needed.
    pub invite_code: Option<String>,
    /// A `did:key` of their own, to rank before the server's among the rotation keys of a new DID.
    pub recovery_key: Option<String>,
    /// The DID of an account to move here.
    pub did: Option<Did>,
    /// The DID that the caller has proven to be theirs.
    pub proven_did: Option<Did>,
    /// The operator who makes it, and is noted: no invitation is needed, sign-up may be closed, and the handle may be one
    /// that is kept back.
    pub operator: Option<Actor>,
}

/// An account that was made, with its first session.
#[derive(Clone, Debug)]
pub struct CreatedAccount {
    /// Its number.
    pub id: AccountId,
    /// Its DID.
    pub did: Did,
    /// Its handle.
    pub handle: Handle,
    /// The refresh token of its first session.
    pub refresh_token: RefreshToken,
    /// Its DID document; `None` if it could not be had at once.
    pub document: Option<Arc<DidDocument>>,
}

impl Lifecycle {
    /// Makes an account with a signing key and an empty repo, and opens its first session.
    ///
    /// With a new DID it is open and announced; with one of its own it is closed, and may be deleted after three days. Of
    /// several sign-ups for one handle, address or DID at once, exactly one succeeds.
    pub async fn create_account(&self, request: NewAccount) -> Result<CreatedAccount, CreateAccountError> {
        let workflows = Arc::clone(&self.0);
        // A task of its own: it goes on when the caller hangs up, so that no DID is left behind for that.
        let tasks = workflows.services.tasks.clone();
        let task = tasks.spawn(async move { workflows.create_account(request).await }.in_current_span());
        task.await.map_err(|_| CreateAccountError::Interrupted)?
    }
}

impl Workflows {
    async fn create_account(&self, request: NewAccount) -> Result<CreatedAccount, CreateAccountError> {
        let sign_up = self.check_sign_up(request).await?;
        let draft = self.draft_account(sign_up).await?;
        self.make_did(&draft).await?;
        let id = self.store_account(&draft).await?;
        let document = self.services.resolver.refresh_document(&draft.did).await.unwrap_or_else(|error| {
            tracing::debug!(did = %draft.did, error = &error as &dyn std::error::Error, "no DID document yet");
            None
        });
        Ok(CreatedAccount { id, did: draft.did, handle: draft.handle, refresh_token: draft.refresh_token, document })
    }

    /// Has the directory make the draft's DID, if it is a new one, and notes that before.
    async fn make_did(&self, draft: &Draft) -> Result<(), CreateAccountError> {
        let Some(operation) = &draft.operation else { return Ok(()) };
        store::insert_draft(&mut *self.services.pool.acquire().await?, &draft.did, operation).await?;
        let made = self.services.plc.submit(&draft.did, operation).await;
        if let Err(PlcError::Refused { .. } | PlcError::Resting) = &made {
            self.forget_draft(&draft.did).await;
        }
        // Of other failures nobody knows whether the DID was made: the draft stays, and a worker looks.
        made.map_err(CreateAccountError::Plc)
    }

    /// Stores the account, or ends the DID that was made for it.
    async fn store_account(&self, draft: &Draft) -> Result<AccountId, CreateAccountError> {
        let error = match self.services.pool.acquire().await {
            Ok(mut conn) => match store::create_account(&mut conn, draft).await {
                Ok(id) => return Ok(id),
                // Postgres may have made the account and died before it said so. Then its DID must live. If not, the
                // draft tells.
                Err(error) if !is_refusal(&error) => {
                    // It works no longer, and must not be held while waiting for another.
                    drop(conn);
                    let account = self.services.accounts.find_by_did(&draft.did).await.ok().flatten();
                    return account.map(|account| account.id).ok_or_else(|| error.into());
                }
                Err(error) => error,
            },
            Err(error) => return Err(error.into()),
        };
        if let Some(operation) = &draft.operation {
            self.undo_at_once(&draft.did, operation).await;
        }
        Err(draft.explain(error))
    }
}

/// True if Postgres said no, rather than went away in the middle.
fn is_refusal(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some() && !db::is_outage(error)
}
