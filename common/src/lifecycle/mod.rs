//! Workflows across subjects: how an account comes to be, moves, and ends.
//!
//! Each workflow ends in one statement of a versioned function, which writes the tables of several owners in one
//! transaction and announces the change in the event log; what nobody needs to hear of ends in a transaction over the
//! owners' own functions. The module owns only what it needs to go on after a crash: `account_draft`, `account_deletion`,
//! `handle_change`, `plc_submission`.

mod deletion;
mod handle;
mod password;
mod plc;
mod services;
mod sign_up;
mod standing;
mod status;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use atproto::crypto::{PublicKey, PublicKeyError, SigningKeyError};

use crate::config::Config;
#[cfg(doc)]
use crate::identity::DidResolver;
use crate::identity::HandleRules;
use crate::keys::RotationKey;
pub use deletion::{DeletedAccounts, PurgeDeleted, Purged};
pub use handle::{HandleGiver, UpdateHandleError};
pub use password::{SetPasswordError, check_new_password, set_password};
pub use plc::{Announcements, PlcChanges, PlcOperationError, is_plc};
pub use services::Services;
pub use sign_up::{CreateAccountError, CreatedAccount, NewAccount};
pub use standing::StandingError;
pub use status::{StatusChange, StatusError};

/// The workflows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Workflows>);

#[derive(Debug)]
struct Workflows {
    services: Services,
    policy: Policy,
}

/// What this server asks of an account, and puts into its DID.
#[derive(Clone)]
pub struct Policy {
    /// Which handles it gives away.
    pub handles: HandleRules,
    /// Whether there are sign-ups at all.
    pub accepts_sign_ups: bool,
    /// Whether a sign-up needs an invitation code.
    pub invites_required: bool,
    /// The server's origin, for the DID document.
    pub public_url: String,
    /// Signs PLC operations.
    pub rotation_key: RotationKey,
    /// The operator's recovery key: ahead of the server's in new DIDs.
    pub recovery_key: Option<PublicKey>,
}

/// Why a configuration cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Accounts are kept by an account service in front.
    #[error("PDS_ENTRYWAY_URL is not supported yet")]
    Entryway,
    /// The rotation key is no key.
    #[error("PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX is not a secp256k1 private key")]
    RotationKey(#[source] SigningKeyError),
    /// The recovery key is no key.
    #[error("PDS_RECOVERY_DID_KEY is not a did:key of a secp256k1 or P-256 key")]
    RecoveryKey(#[source] PublicKeyError),
}

impl Policy {
    /// Reads the policy from the settings.
    pub fn from_config(config: &Config) -> Result<Self, PolicyError> {
        if config.entryway.is_some() {
            return Err(PolicyError::Entryway);
        }
        let rotation_key = RotationKey::from_config(&config.secrets.plc_rotation_key);
        let recovery_key = config.identity.recovery_did_key.as_deref().map(str::parse).transpose();
        Ok(Self {
            handles: HandleRules::new(config.identity.service_handle_domains.clone()),
            accepts_sign_ups: config.service.accepting_sign_ups,
            invites_required: config.invites.required,
            public_url: config.public_url(),
            rotation_key: rotation_key.map_err(PolicyError::RotationKey)?,
            recovery_key: recovery_key.map_err(PolicyError::RecoveryKey)?,
        })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// Workflows of a server with this policy.
    pub fn new(services: Services, policy: Policy) -> Self {
        Self(Arc::new(Workflows { services, policy }))
    }

    /// Forgets the DID documents that nobody needs any more; see [`DidResolver::forget_old_documents`].
    pub async fn forget_documents(&self) -> sqlx::Result<u64> {
        self.0.services.resolver.forget_old_documents().await
    }

    /// What may be announced of accounts.
    pub fn announcements(&self) -> Announcements {
        Announcements::new(self.0.services.pool.clone(), self.0.services.clock.clone())
    }

    /// Which handles this server gives away.
    pub fn handles(&self) -> &HandleRules {
        &self.0.policy.handles
    }
}
