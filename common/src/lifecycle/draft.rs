//! Everything a new account consists of, made before anything is published.

use std::collections::HashSet;

use atproto::crypto::{PublicKey, SigningKey};
use atproto::event::{AccountEvent, AccountStatus, Event, IdentityEvent};
use atproto::identity::plc::{Operation, State, UnsignedOperation};
use atproto::syntax::{Datetime, Did, Handle};
use chrono::{DateTime, Utc};

use super::create_account::SignUp;
use super::{CreateAccountError, Policy, Workflows, store};
use crate::account::{EmailAddress, PasswordHash};
use crate::db;
use crate::keys::{RotationKeyError, SealedKey};
use crate::repo::Genesis;
use crate::session::RefreshToken;

/// A new account, complete but for its place in the database.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) did: Did,
    pub(super) handle: Handle,
    pub(super) email: EmailAddress,
    pub(super) password_hash: Option<PasswordHash>,
    pub(super) invite_code: Option<String>,
    /// Makes the DID.
    pub(super) operation: Operation,
    pub(super) public_key: PublicKey,
    pub(super) sealed_key: SealedKey,
    pub(super) repo: Genesis,
    /// In the order in which they are announced.
    pub(super) events: Vec<Event>,
    pub(super) refresh_token: RefreshToken,
}

impl Workflows {
    /// Makes the keys, the DID, the repo and the events of a new account.
    pub(super) async fn draft_account(&self, sign_up: SignUp) -> Result<Draft, CreateAccountError> {
        let password_hash = match sign_up.password {
            Some(password) => Some(self.services.accounts.passwords().hash(password).await?),
            None => None,
        };
        let key = SigningKey::generate(&mut rand::rng());
        let operation = self.policy.create_did(&sign_up.handle, &key.public_key(), sign_up.recovery_key).await?;
        let did = operation.did()?;
        let now = self.services.clock.now();
        let repo = Genesis::new(&did, &key, now)?;
        Ok(Draft {
            events: events(&did, &sign_up.handle, &repo, now),
            sealed_key: self.services.keys.vault().seal(&did, &key)?,
            refresh_token: self.services.sessions.new_token(),
            public_key: key.public_key(),
            handle: sign_up.handle,
            email: sign_up.email,
            invite_code: sign_up.invite_code,
            did,
            password_hash,
            operation,
            repo,
        })
    }
}

impl Policy {
    /// The operation that makes a DID. Whose rotation key comes first may undo what a later one signs: first the user's
    /// own, then the operator's recovery key, then the server's.
    async fn create_did(
        &self,
        handle: &Handle,
        signing_key: &PublicKey,
        recovery_key: Option<PublicKey>,
    ) -> Result<Operation, RotationKeyError> {
        let keys = [recovery_key, self.recovery_key, Some(self.rotation_key.public_key().await?)];
        let mut rotation_keys: Vec<PublicKey> = keys.into_iter().flatten().collect();
        // The directory wants each once, and a user may name one of ours.
        let mut seen = HashSet::new();
        rotation_keys.retain(|key| seen.insert(key.to_string()));
        let state = State::for_account(&rotation_keys, signing_key, handle, &self.public_url);
        self.rotation_key.sign(UnsignedOperation::genesis(state)).await
    }
}

/// Who it is, that it is open, and the first commit. Relays want to know an account before they see its commits.
fn events(did: &Did, handle: &Handle, repo: &Genesis, now: DateTime<Utc>) -> Vec<Event> {
    let time = Datetime::from_unix_millis(u64::try_from(now.timestamp_millis()).unwrap_or_default());
    let identity = IdentityEvent { did: did.clone(), handle: Some(handle.clone()), time: time.clone() };
    let account = AccountEvent { did: did.clone(), status: AccountStatus::Active, time };
    [Event::Identity(identity), Event::Account(account)].into_iter().chain(repo.events.clone()).collect()
}

impl Draft {
    /// What to tell of a refusal by Postgres.
    pub(super) fn explain(&self, error: sqlx::Error) -> CreateAccountError {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(store::INVITE_NOT_AVAILABLE) {
            CreateAccountError::InviteNotAvailable
        } else if db::violates(&error, "account_handle_key") {
            CreateAccountError::HandleTaken(self.handle.clone())
        } else if db::violates(&error, "account_email_key") {
            CreateAccountError::EmailTaken(self.email.clone())
        } else {
            CreateAccountError::Storage(error)
        }
    }
}
