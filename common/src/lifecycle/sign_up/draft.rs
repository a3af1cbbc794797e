//! Everything a new account consists of, made before anything is published.

use std::collections::HashSet;

use atproto::crypto::{PublicKey, SigningKey};
use atproto::event::{AccountEvent, AccountStatus, Event, IdentityEvent};
use atproto::identity::plc::{Operation, State, UnsignedOperation};
use atproto::syntax::{Did, Handle};
use chrono::{DateTime, TimeDelta, Utc};

use super::check::{Identity, SignUp};
use super::{CreateAccountError, store};
use crate::account::{EmailAddress, PasswordHash};
use crate::audit::Actor;
use crate::db;
use crate::keys::{RotationKeyError, SealedKey};
use crate::lifecycle::{Policy, Workflows};
use crate::repo::Genesis;
use crate::session::RefreshToken;

/// How long an account that moves here may stay closed before it may be deleted.
const MOVING: TimeDelta = TimeDelta::days(3);

/// A new account, complete but for its place in the database.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) did: Did,
    pub(super) handle: Handle,
    pub(super) email: EmailAddress,
    pub(super) password_hash: Option<PasswordHash>,
    pub(super) invite_code: Option<String>,
    /// Makes the DID; `None` if it is there.
    pub(super) operation: Option<Operation>,
    /// When it may be deleted if it is not open by then: it starts closed. `None` if it starts open.
    pub(super) delete_after: Option<DateTime<Utc>>,
    pub(super) public_key: PublicKey,
    pub(super) sealed_key: SealedKey,
    pub(super) repo: Genesis,
    /// In the order in which they are announced; none for an account that starts closed.
    pub(super) events: Vec<Event>,
    pub(super) refresh_token: RefreshToken,
    /// Who makes it, if not its owner.
    pub(super) operator: Option<Actor>,
}

/// A DID and what its account will sign with.
struct Keyed {
    did: Did,
    key: SigningKey,
    sealed: SealedKey,
    operation: Option<Operation>,
}

impl Workflows {
    /// Makes the keys, the DID, the repo and the events of a new account.
    pub(super) async fn draft_account(&self, sign_up: SignUp) -> Result<Draft, CreateAccountError> {
        let password_hash = match sign_up.password {
            Some(password) => Some(self.services.accounts.passwords().hash(password).await?),
            None => None,
        };
        let is_new = matches!(sign_up.identity, Identity::New { .. });
        let Keyed { did, key, sealed, operation } = self.key_for(sign_up.identity, &sign_up.handle).await?;
        let now = self.services.clock.now();
        let repo = Genesis::new(&did, &key, now)?;
        Ok(Draft {
            events: if is_new { self.announcement(&did, &sign_up.handle, &repo) } else { Vec::new() },
            delete_after: (!is_new).then(|| now + MOVING),
            refresh_token: self.services.sessions.new_token(),
            public_key: key.public_key(),
            sealed_key: sealed,
            handle: sign_up.handle,
            email: sign_up.email,
            invite_code: sign_up.invite_code,
            operator: sign_up.operator,
            did,
            password_hash,
            operation,
            repo,
        })
    }

    /// Reference: it takes the key that was reserved for a DID only from an account service in front. Whoever reserves one
    /// before moving here means it, too.
    async fn key_for(&self, identity: Identity, handle: &Handle) -> Result<Keyed, CreateAccountError> {
        let keys = &self.services.keys;
        match identity {
            Identity::New { recovery_key } => {
                let key = SigningKey::generate(&mut rand::rng());
                let state = self.policy.new_state(handle, &key.public_key(), recovery_key).await?;
                let operation = self.policy.rotation_key.sign(UnsignedOperation::genesis(state)).await?;
                let did = operation.did()?;
                Ok(Keyed { sealed: keys.vault().seal(&did, &key)?, did, key, operation: Some(operation) })
            }
            Identity::Own(did) => {
                if let Some((key, sealed)) = keys.find_reserved(&did).await? {
                    return Ok(Keyed { did, key, sealed, operation: None });
                }
                let key = SigningKey::generate(&mut rand::rng());
                let sealed = keys.vault().seal(&did, &key)?;
                Ok(Keyed { did, key, sealed, operation: None })
            }
        }
    }

    /// Who it is, that it is open, and the first commit. Relays want to know an account before they see its commits.
    fn announcement(&self, did: &Did, handle: &Handle, repo: &Genesis) -> Vec<Event> {
        let time = self.event_time();
        let identity = IdentityEvent { did: did.clone(), handle: Some(handle.clone()), time: time.clone() };
        let account = AccountEvent { did: did.clone(), status: AccountStatus::Active, time };
        [Event::Identity(identity), Event::Account(account)].into_iter().chain(repo.events.clone()).collect()
    }
}

impl Policy {
    /// What a new DID says. Whose rotation key comes first may undo what a later one signs: first the user's own, then the
    /// operator's recovery key, then the server's.
    async fn new_state(
        &self,
        handle: &Handle,
        signing_key: &PublicKey,
        recovery_key: Option<PublicKey>,
    ) -> Result<State, RotationKeyError> {
        let keys = [recovery_key, self.recovery_key, Some(self.rotation_key.public_key().await?)];
        let mut rotation_keys: Vec<PublicKey> = keys.into_iter().flatten().collect();
        // The directory wants each once, and a user may name one of ours.
        let mut seen = HashSet::new();
        rotation_keys.retain(|key| seen.insert(key.to_string()));
        Ok(State::for_account(&rotation_keys, signing_key, handle, &self.public_url))
    }
}

impl Draft {
    /// What to tell of a refusal by Postgres.
    pub(super) fn explain(&self, error: sqlx::Error) -> CreateAccountError {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some(store::INVITE_NOT_AVAILABLE) => CreateAccountError::InviteNotAvailable,
            Some(store::DRAFT_UNDONE) => CreateAccountError::Undone,
            _ if db::violates(&error, "account_handle_key") => CreateAccountError::HandleTaken(self.handle.clone()),
            _ if db::violates(&error, "account_email_key") => CreateAccountError::EmailTaken(self.email.clone()),
            _ if db::violates(&error, "account_did_key") => CreateAccountError::DidTaken,
            _ => CreateAccountError::Storage(error),
        }
    }
}
