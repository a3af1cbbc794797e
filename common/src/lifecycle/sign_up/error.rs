//! Why there is no account.

use atproto::event::TooBig;
use atproto::identity::plc::OperationError;
use atproto::syntax::{Did, Handle};

use crate::account::{EmailAddress, MAX_NEW_PASSWORD_CHARS, PasswordError};
use crate::identity::{HandleRefusal, PlcError};
use crate::keys::{KeyError, RotationKeyError, SealError};

/// Why there is no account. Except for the last variants the text is what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum CreateAccountError {
    /// The operator has closed sign-up.
    #[error("Sign-up is closed on this server")]
    Closed,
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
    /// The handle is of another domain, and does not stand for the DID.
    #[error("External handle did not resolve to DID")]
    HandleUnresolved,
    /// Another account has the handle.
    #[error("Handle already taken: {0}")]
    HandleTaken(Handle),
    /// Another account has the e-mail address.
    #[error("Email already taken: {0}")]
    EmailTaken(EmailAddress),
    /// The DID has an account here.
    #[error("Repo already exists")]
    DidTaken,
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
    /// The reserved signing key cannot be had.
    #[error("cannot use the reserved signing key")]
    Key(#[from] KeyError),
    /// It took so long that its DID was ended.
    #[error("the sign-up took too long")]
    Undone,
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
    /// The process is shutting down.
    #[error("the sign-up was interrupted")]
    Interrupted,
}
