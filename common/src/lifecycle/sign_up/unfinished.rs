//! DIDs that were made, or may have been, for accounts that there are not.

use atproto::identity::plc::{Operation, UnsignedOperation};
use atproto::syntax::Did;

use super::{CreateAccountError, store};
use crate::lifecycle::{Lifecycle, Workflows};

/// Drafts that one run looks at.
const DRAFTS: i64 = 200;

/// What became of a draft.
enum Undoing {
    /// No DID goes on without account.
    Done,
    /// The directory does not know the DID. If a process was stopped at the wrong moment, it may hear of it yet.
    Unknown,
}

impl Lifecycle {
    /// Ends the DIDs of sign-ups that were begun more than five minutes ago and came to nothing; gives how many drafts
    /// are done with. What fails is left to the next run.
    ///
    /// Safe to run at any time, also twice at once: a sign-up that is still going on finds that it came too late.
    pub async fn undo_unfinished(&self) -> sqlx::Result<usize> {
        let workflows = &*self.0;
        let drafts = store::claim_stale_drafts(&mut *workflows.services.pool.acquire().await?, DRAFTS).await?;
        let mut done = 0;
        for draft in drafts {
            match workflows.end_did(&draft.did, &draft.operation).await {
                Ok(Undoing::Unknown) if !draft.is_old => {}
                Ok(Undoing::Done | Undoing::Unknown) => {
                    store::delete_draft(&mut *workflows.services.pool.acquire().await?, &draft.did).await?;
                    done += 1;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(did = %draft.did, error, "a DID without account goes on for now");
                }
            }
        }
        Ok(done)
    }

    /// Forgets the signing keys that were reserved for accounts which never came; gives how many.
    pub async fn forget_reservations(&self) -> sqlx::Result<u64> {
        self.0.services.keys.delete_stale_reservations().await
    }
}

impl Workflows {
    /// Ends the DID of a sign-up that Postgres refused. If that fails, its draft reminds a worker.
    pub(super) async fn undo_at_once(&self, did: &Did, operation: &Operation) {
        match self.end_did(did, operation).await {
            Ok(Undoing::Done) => self.forget_draft(did).await,
            Ok(Undoing::Unknown) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%did, error, "a DID without account goes on for now");
            }
        }
    }

    /// Deletes a draft that nothing came of. If that fails, a worker finds it.
    pub(super) async fn forget_draft(&self, did: &Did) {
        let forgotten = async { store::delete_draft(&mut *self.services.pool.acquire().await?, did).await };
        if let Err(error) = forgotten.await {
            tracing::warn!(%did, %error, "the draft of a failed sign-up stays for now");
        }
    }

    /// Ends the DID that `genesis` makes, unless somebody else has changed it since: with a recovery key its owner may have
    /// taken it elsewhere.
    async fn end_did(&self, did: &Did, genesis: &Operation) -> Result<Undoing, CreateAccountError> {
        let last = self.services.plc.find_last_operation(did).await.map_err(CreateAccountError::Plc)?;
        match last {
            None => Ok(Undoing::Unknown),
            Some(last) if last != *genesis => Ok(Undoing::Done),
            Some(last) => {
                let tombstone = UnsignedOperation::Tombstone { prev: last.cid()? };
                let tombstone = self.policy.rotation_key.sign(tombstone).await?;
                self.services.plc.submit(did, &tombstone).await.map_err(CreateAccountError::Plc)?;
                Ok(Undoing::Done)
            }
        }
    }
}
