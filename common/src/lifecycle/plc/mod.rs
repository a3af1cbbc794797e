//! What a user changes of their own DID, with this server's signature or with their own.
//!
//! Only for a `did:plc`: the document of a `did:web` is in its owner's hands, and all that this server can do is to say
//! what should be in it.

mod announcements;
mod signing_key;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use atproto::identity::plc::{Operation, OperationError, PlcService, State, UnsignedOperation};
use atproto::identity::{PDS_SERVICE_ID, PDS_SERVICE_TYPE, SIGNING_KEY_ID};
use atproto::syntax::Did;
use tracing::Instrument as _;

use super::{Lifecycle, Workflows};
use crate::account::Principal;
use crate::identity::PlcError;
use crate::keys::RotationKeyError;
pub use announcements::Announcements;

/// The method of the DIDs that the directory keeps.
const PLC: &str = "plc";

/// What a user wants to be otherwise in their DID; what is left out stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PlcChanges {
    /// Keys that may sign the next operation, the most powerful first.
    pub rotation_keys: Option<Vec<String>>,
    /// Names, as URIs.
    pub also_known_as: Option<Vec<String>>,
    /// Keys of the document.
    pub verification_methods: Option<BTreeMap<String, String>>,
    /// Servers of the document.
    pub services: Option<BTreeMap<String, PlcService>>,
}

/// Why a DID is not changed. Except for the last variants the text is what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum PlcOperationError {
    /// The directory does not keep DIDs of this kind.
    #[error("Only a did:plc is changed through its server")]
    NotPlc,
    /// The directory does not know the DID.
    #[error("Did is not registered")]
    Unregistered,
    /// Its owner has ended it.
    #[error("Did is tombstoned")]
    Tombstoned,
    /// The operation is none, or none that changes a DID.
    #[error("Invalid operation")]
    Invalid,
    /// The directory would not take what is asked for.
    #[error("Invalid operation: {0}")]
    OverLimit(#[source] OperationError),
    /// The operation would part the DID from its account here.
    #[error("{0}")]
    Estranges(&'static str),
    /// The account is gone.
    #[error("Account not found")]
    AccountGone,
    /// The directory did not do what it was asked.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// Nothing was signed.
    #[error(transparent)]
    RotationKey(#[from] RotationKeyError),
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
    /// The process is shutting down.
    #[error("the operation was interrupted")]
    Interrupted,
}

/// True for a DID that the PLC directory keeps.
pub fn is_plc(did: &Did) -> bool {
    did.method() == PLC
}

impl Lifecycle {
    /// What this server would have in the DID of an account: the values with which the account works here.
    ///
    /// The rotation keys are the operator's and this server's. Keys of the user's own are theirs to add.
    pub async fn recommended_did(&self, account: &Principal) -> Result<State, PlcOperationError> {
        self.0.recommended_did(account).await
    }

    /// The operation that makes `changes` to a DID: after the newest one, within the directory's limits, and not signed yet.
    pub async fn draft_plc_operation(
        &self,
        did: &Did,
        changes: PlcChanges,
    ) -> Result<UnsignedOperation, PlcOperationError> {
        self.0.draft_plc_operation(did, changes).await
    }

    /// Signs an operation with this server's rotation key. Whoever has it can send it: check the caller first.
    pub async fn sign_plc_operation(&self, operation: UnsignedOperation) -> Result<Operation, PlcOperationError> {
        Ok(self.0.policy.rotation_key.sign(operation).await?)
    }

    /// Sends an operation on the DID of an account to the directory, if the account still works afterwards, lets all replicas
    /// see the new document, and announces the change.
    ///
    /// Who signed it is the directory's to judge. If the process dies between directory and announcement, or the directory's
    /// answer is lost, a note of the change stays, and a worker announces it ([`Announcements::announce_overdue`]).
    pub async fn submit_plc_operation(
        &self,
        account: Principal,
        operation: Operation,
    ) -> Result<(), PlcOperationError> {
        let workflows = Arc::clone(&self.0);
        // A task of its own: it goes on when the caller hangs up, so that no change stays unannounced for that.
        let tasks = workflows.services.tasks.clone();
        let task = tasks.spawn(async move { workflows.submit(&account, &operation).await }.in_current_span());
        task.await.map_err(|_| PlcOperationError::Interrupted)?
    }
}

impl Workflows {
    async fn recommended_did(&self, account: &Principal) -> Result<State, PlcOperationError> {
        let signing_key = self.services.keys.find_public_key(account.id).await?;
        let signing_key = signing_key.ok_or(PlcOperationError::AccountGone)?.to_string();
        let recovery_key = self.policy.recovery_key.as_ref().map(ToString::to_string);
        let server_key = self.policy.rotation_key.public_key().await?.to_string();
        let pds = PlcService { kind: PDS_SERVICE_TYPE.to_owned(), endpoint: self.policy.public_url.clone() };
        Ok(State {
            rotation_keys: recovery_key.filter(|key| *key != server_key).into_iter().chain([server_key]).collect(),
            verification_methods: BTreeMap::from([(SIGNING_KEY_ID.to_owned(), signing_key)]),
            also_known_as: account.handle.iter().map(|handle| format!("at://{handle}")).collect(),
            services: BTreeMap::from([(PDS_SERVICE_ID.to_owned(), pds)]),
        })
    }

    async fn draft_plc_operation(
        &self,
        did: &Did,
        changes: PlcChanges,
    ) -> Result<UnsignedOperation, PlcOperationError> {
        require_plc(did)?;
        let last = self.services.plc.find_last_operation(did).await?.ok_or(PlcOperationError::Unregistered)?;
        let mut state = last.state().ok_or(PlcOperationError::Tombstoned)?;
        changes.apply(&mut state);
        let prev = last.cid().map_err(PlcOperationError::OverLimit)?;
        let operation = UnsignedOperation::Update { state, prev: Some(prev) };
        // Every signature is as long as this one.
        let filled_in = operation.clone().with_signature([0; atproto::crypto::SIGNATURE_LEN]);
        filled_in.check_limits().map_err(PlcOperationError::OverLimit)?;
        Ok(operation)
    }

    async fn submit(&self, account: &Principal, operation: &Operation) -> Result<(), PlcOperationError> {
        require_plc(&account.did)?;
        let state = operation.state().filter(|_| matches!(operation.unsigned(), UnsignedOperation::Update { .. }));
        // The directory may take what nobody could keep.
        let state = state.filter(|state| !state.document(&account.did).has_nul()).ok_or(PlcOperationError::Invalid)?;
        check_kept(&self.recommended_did(account).await?, &state)?;
        let pool = &self.services.pool;
        let submission = store::insert_submission(&mut *pool.acquire().await?, account.id).await?;
        if let Err(error) = self.services.plc.submit(&account.did, operation).await {
            if matches!(error, PlcError::Refused { .. } | PlcError::Resting) {
                store::delete_submission(&mut *pool.acquire().await?, submission).await?;
            }
            return Err(error.into());
        }
        self.refresh_document(&account.did, &state).await?;
        let body = announcements::event(&account.did, &self.services.clock);
        store::announce_submission(&mut *pool.acquire().await?, (submission, account.id), &body).await?;
        Ok(())
    }

    /// Lets all replicas see the document of the state that the directory has just taken.
    pub(super) async fn refresh_document(&self, did: &Did, state: &State) -> sqlx::Result<()> {
        let Err(error) = self.services.resolver.refresh_document(did).await else { return Ok(()) };
        tracing::debug!(%did, error = &*error as &dyn std::error::Error, "the directory does not show its document");
        self.services.resolver.keep_document(did, state.document(did)).await
    }
}

impl PlcChanges {
    fn apply(self, state: &mut State) {
        let Self { rotation_keys, also_known_as, verification_methods, services } = self;
        if let Some(rotation_keys) = rotation_keys {
            state.rotation_keys = rotation_keys;
        }
        if let Some(also_known_as) = also_known_as {
            state.also_known_as = also_known_as;
        }
        if let Some(verification_methods) = verification_methods {
            state.verification_methods = verification_methods;
        }
        if let Some(services) = services {
            state.services = services;
        }
    }
}

fn require_plc(did: &Did) -> Result<(), PlcOperationError> {
    if is_plc(did) { Ok(()) } else { Err(PlcOperationError::NotPlc) }
}

/// Checks that the account works here with the DID as it would be.
fn check_kept(recommended: &State, state: &State) -> Result<(), PlcOperationError> {
    use PlcOperationError::Estranges;

    // The last of them is this server's.
    if recommended.rotation_keys.last().is_none_or(|key| !state.rotation_keys.contains(key)) {
        return Err(Estranges("Rotation keys do not include server's rotation key"));
    }
    let [ours, theirs] = [recommended, state].map(|state| state.services.get(PDS_SERVICE_ID));
    if theirs.map(|service| &service.kind) != ours.map(|service| &service.kind) {
        return Err(Estranges("Incorrect type on atproto_pds service"));
    }
    if theirs != ours {
        return Err(Estranges("Incorrect endpoint on atproto_pds service"));
    }
    if state.verification_methods.get(SIGNING_KEY_ID) != recommended.verification_methods.get(SIGNING_KEY_ID) {
        return Err(Estranges("Incorrect signing key"));
    }
    match recommended.also_known_as.first() {
        Some(name) if state.also_known_as.first() != Some(name) => Err(Estranges("Incorrect handle in alsoKnownAs")),
        _ => Ok(()),
    }
}
