//! Sign-up: a new account with a new DID.

use std::sync::Arc;

use atproto::crypto::PublicKey;
use atproto::event::TooBig;
use atproto::identity::DidDocument;
use atproto::identity::plc::{OperationError, UnsignedOperation};
use atproto::syntax::{Did, Handle};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::Instrument as _;

use super::draft::Draft;
use super::{Lifecycle, Workflows, store};
use crate::account::{AccountId, EmailAddress, MAX_NEW_PASSWORD_CHARS, PasswordError};
use crate::db;
use crate::identity::{HandleRefusal, PlcError};
use crate::keys::{RotationKeyError, SealError};
use crate::session::RefreshToken;

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
    /// A `did:key` of their own, to rank before the server's among the rotation keys.
    pub recovery_key: Option<String>,
    /// The DID of an account to move here.
    pub did: Option<Did>,
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
    /// Its DID document; `None` if the PLC directory could not show it at once.
    pub document: Option<Arc<DidDocument>>,
}

/// Why there is no account. Except for the last variants the text is what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum CreateAccountError {
    /// The password is longer than [`MAX_NEW_PASSWORD_CHARS`].
    #[error("Password too long. Maximum length is {MAX_NEW_PASSWORD_CHARS} characters.")]
    PasswordTooLong,
    /// An invitation is needed.
    #[error("No invite code provided")]
    InviteMissing,
    /// The invitation is unknown, disabled or used up.
    #[error("Provided invite code not available")]
    InviteNotAvailable,
    /// There is no e-mail address.
    #[error("Email is required")]
    EmailMissing,
    /// The e-mail address cannot be one.
    #[error("This email address is not supported, please use a different email.")]
    EmailUnsupported,
    /// This server does not give the handle away.
    #[error(transparent)]
    Handle(#[from] HandleRefusal),
    /// Another account has the handle.
    #[error("Handle already taken: {0}")]
    HandleTaken(Handle),
    /// Another account has the e-mail address.
    #[error("Email already taken: {0}")]
    EmailTaken(EmailAddress),
    /// The recovery key is no key.
    #[error("The recovery key must be a did:key of a secp256k1 or P-256 key")]
    RecoveryKey,
    /// An account with a DID of its own was asked for, and nothing shows that the DID agrees.
    #[error("Missing auth to create account with did: {0}")]
    DidUnproven(Did),
    /// The PLC directory did not make the DID.
    #[error(transparent)]
    Plc(PlcError),
    /// The first commit did not fit an event.
    #[error("cannot announce a new repo")]
    Genesis(#[from] TooBig),
    /// The operation that makes the DID could not be built.
    #[error("cannot build a PLC operation")]
    Operation(#[from] OperationError),
    /// The operation that makes the DID was not signed.
    #[error(transparent)]
    RotationKey(#[from] RotationKeyError),
    /// The password was not hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The signing key was not sealed.
    #[error("cannot seal a signing key")]
    Seal(#[from] SealError),
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
    /// The process is shutting down.
    #[error("the sign-up was interrupted")]
    Interrupted,
}

/// A sign-up that nothing speaks against so far.
#[derive(Debug)]
pub(super) struct SignUp {
    pub(super) handle: Handle,
    pub(super) email: EmailAddress,
    pub(super) password: Option<SecretString>,
    pub(super) invite_code: Option<String>,
    pub(super) recovery_key: Option<PublicKey>,
}

impl Lifecycle {
    /// Makes an account with a new `did:plc`, a signing key and an empty repo, announces it, and opens its first session.
    ///
    /// The DID comes first, the account second. If the account then cannot be made, the DID is ended again; if the process
    /// dies in between, a DID remains that no account has, which harms nobody: the handle is still free, and a second try
    /// makes another DID. Of several sign-ups for one handle or address at once, exactly one succeeds.
    pub async fn create_account(&self, request: NewAccount) -> Result<CreatedAccount, CreateAccountError> {
        let workflows = Arc::clone(&self.0);
        // A task of its own: it goes on when the caller hangs up, so that no DID is left behind for that.
        let task = tokio::spawn(async move { workflows.create_account(request).await }.in_current_span());
        task.await.map_err(|_| CreateAccountError::Interrupted)?
    }
}

impl Workflows {
    async fn create_account(&self, request: NewAccount) -> Result<CreatedAccount, CreateAccountError> {
        let sign_up = self.check_sign_up(request).await?;
        let draft = self.draft_account(sign_up).await?;
        // If the answer is lost the directory may have the DID all the same; nothing refers to it.
        self.services.plc.submit(&draft.did, &draft.operation).await.map_err(CreateAccountError::Plc)?;
        let id = self.store_account(&draft).await?;
        let document = self.services.resolver.refresh_document(&draft.did).await.unwrap_or_else(|error| {
            tracing::debug!(did = %draft.did, error = &error as &dyn std::error::Error, "no DID document yet");
            None
        });
        Ok(CreatedAccount { id, did: draft.did, handle: draft.handle, refresh_token: draft.refresh_token, document })
    }

    /// The order of the checks is part of the interface: the first thing wrong is what the caller hears of.
    async fn check_sign_up(&self, request: NewAccount) -> Result<SignUp, CreateAccountError> {
        let password = request.password.filter(|password| !password.expose_secret().is_empty());
        if password.as_ref().is_some_and(|text| text.expose_secret().chars().count() > MAX_NEW_PASSWORD_CHARS) {
            return Err(CreateAccountError::PasswordTooLong);
        }
        let invite_code = request.invite_code.filter(|code| self.policy.invites_required && !code.is_empty());
        if self.policy.invites_required && invite_code.is_none() {
            return Err(CreateAccountError::InviteMissing);
        }
        let email = request.email.filter(|email| !email.is_empty()).ok_or(CreateAccountError::EmailMissing)?;
        let emails = self.services.accounts.emails();
        let email = emails.check(&email).map_err(|_| CreateAccountError::EmailUnsupported)?;
        let handle = if request.did.is_some() {
            self.policy.handles.check(&request.handle)?
        } else {
            self.policy.handles.check_new(&request.handle)?
        };
        if let Some(code) = &invite_code
            && !self.services.accounts.is_usable_invite(code).await?
        {
            return Err(CreateAccountError::InviteNotAvailable);
        }
        self.check_free(&handle, &email).await?;
        if let Some(did) = request.did {
            return Err(CreateAccountError::DidUnproven(did));
        }
        let recovery_key = request.recovery_key.map(|key| key.parse()).transpose();
        let recovery_key = recovery_key.map_err(|_| CreateAccountError::RecoveryKey)?;
        Ok(SignUp { handle, email, password, invite_code, recovery_key })
    }

    /// Spares the directory a DID for nothing. Whether both are free is decided when the account is stored.
    ///
    /// Reference: it sees active accounts only, and answers 500 for the others.
    async fn check_free(&self, handle: &Handle, email: &EmailAddress) -> Result<(), CreateAccountError> {
        let accounts = &self.services.accounts;
        if accounts.find_by_handle(handle).await?.is_some() {
            return Err(CreateAccountError::HandleTaken(handle.clone()));
        }
        if accounts.find_by_email(email.as_str()).await?.is_some() {
            return Err(CreateAccountError::EmailTaken(email.clone()));
        }
        Ok(())
    }

    /// Stores the account, or ends its DID again.
    async fn store_account(&self, draft: &Draft) -> Result<AccountId, CreateAccountError> {
        let error = match self.services.pool.acquire().await {
            Ok(mut conn) => match store::create_account(&mut conn, draft).await {
                Ok(id) => return Ok(id),
                // Postgres may have made the account and died before it said so. Then its DID must live.
                Err(error) if !is_refusal(&error) => {
                    // It works no longer, and must not be held while waiting for another.
                    drop(conn);
                    let account = self.services.accounts.find_by_did(&draft.did).await.ok().flatten();
                    return account.map(|account| account.id).ok_or_else(|| error.into());
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        self.end_did(draft).await;
        Err(draft.explain(error))
    }

    /// Ends a DID that has no account. Best effort: nothing refers to it.
    async fn end_did(&self, draft: &Draft) {
        let ended = async {
            let tombstone = UnsignedOperation::Tombstone { prev: draft.operation.cid()? };
            let operation = self.policy.rotation_key.sign(tombstone).await?;
            self.services.plc.submit(&draft.did, &operation).await.map_err(CreateAccountError::Plc)
        };
        if let Err(error) = ended.await {
            tracing::warn!(did = %draft.did, error = &error as &dyn std::error::Error, "a DID without account remains");
        }
    }
}

/// True if Postgres said no, rather than went away in the middle.
fn is_refusal(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some() && !db::is_outage(error)
}
