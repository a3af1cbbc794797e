//! Whether somebody may have the account they ask for.

use atproto::crypto::PublicKey;
use atproto::syntax::{Did, Handle};
use secrecy::{ExposeSecret as _, SecretString};

use super::{CreateAccountError, NewAccount};
use crate::account::{EmailAddress, MAX_NEW_PASSWORD_CHARS};
use crate::audit::Actor;
use crate::lifecycle::Workflows;

/// A sign-up that nothing speaks against so far.
#[derive(Debug)]
pub(super) struct SignUp {
    pub(super) handle: Handle,
    pub(super) email: EmailAddress,
    pub(super) password: Option<SecretString>,
    pub(super) invite_code: Option<String>,
    pub(super) identity: Identity,
    pub(super) operator: Option<Actor>,
}

/// Where the DID comes from.
#[derive(Debug)]
pub(super) enum Identity {
    /// It is made, with this key of the user's ahead of the server's.
    New { recovery_key: Option<PublicKey> },
    /// The user has it.
    Own(Did),
}

impl Workflows {
    /// The order of the checks is part of the interface: the first thing wrong is what the caller hears of.
    ///
    /// Reference: it asks the network about the handle before it looks whether the DID is proven. Here nobody makes the
    /// server ask without a proof.
    pub(super) async fn check_sign_up(&self, request: NewAccount) -> Result<SignUp, CreateAccountError> {
        if !self.policy.accepts_sign_ups && request.operator.is_none() {
            return Err(CreateAccountError::Closed);
        }
        let password = request.password.filter(|password| !password.expose_secret().is_empty());
        if password.as_ref().is_some_and(|text| text.expose_secret().chars().count() > MAX_NEW_PASSWORD_CHARS) {
            return Err(CreateAccountError::PasswordTooLong);
        }
        let needs_invite = self.policy.invites_required && request.operator.is_none();
        let invite_code = request.invite_code.filter(|code| needs_invite && !code.is_empty());
        if needs_invite && invite_code.is_none() {
            return Err(CreateAccountError::InviteMissing);
        }
        let email = request.email.filter(|email| !email.is_empty()).ok_or(CreateAccountError::EmailMissing)?;
        let emails = self.services.accounts.emails();
        let email = emails.check(&email).map_err(|_| CreateAccountError::EmailUnsupported)?;
        let handles = &self.policy.handles;
        let handle = match request.operator {
            Some(_) => handles.check_reserved_too(&request.handle)?,
            None => handles.check(&request.handle)?,
        };
        if request.did.is_none() {
            handles.check_new(&handle)?;
        }
        if let Some(code) = &invite_code
            && !self.services.accounts.is_usable_invite(code).await?
        {
            return Err(CreateAccountError::InviteNotAvailable);
        }
        self.check_free(&handle, &email).await?;
        let identity = if let Some(did) = request.did {
            self.check_own_did(&did, request.proven_did.as_ref(), &handle).await?;
            Identity::Own(did)
        } else {
            let recovery_key = request.recovery_key.map(|key| key.parse()).transpose();
            Identity::New { recovery_key: recovery_key.map_err(|_| CreateAccountError::RecoveryKey)? }
        };
        Ok(SignUp { handle, email, password, invite_code, identity, operator: request.operator })
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

    async fn check_own_did(&self, did: &Did, proven: Option<&Did>, handle: &Handle) -> Result<(), CreateAccountError> {
        if proven != Some(did) {
            return Err(CreateAccountError::DidUnproven(did.clone()));
        }
        if self.services.accounts.find_by_did(did).await?.is_some() {
            return Err(CreateAccountError::DidTaken);
        }
        if self.stands_for(handle, did).await { Ok(()) } else { Err(CreateAccountError::HandleUnresolved) }
    }
}
