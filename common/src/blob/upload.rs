//! Blobs that come in.
//!
//! The object is stored first, then the row that makes it count. So a row has its bytes from the beginning, and what breaks
//! off in between leaves an object that nothing names, which [`orphan`](super::orphan) finds. While the same bytes are being
//! deleted neither is done: see [`collect`](super::collect).
//!
//! An upload may stand still in between for any length of time, while the same bytes, which were there before, are given up
//! and deleted. So the row is not stored long after it was last seen that nobody deletes them.

use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use picture::InspectError;

use super::object::{Content, ObjectId, Spool, StoreError};
use super::quota::{self, QuotaExceeded};
use super::store::{self, Bars};
use super::{Blobs, PlaceObject};
use crate::config::BlobQuota;
use crate::db::AccountId;
use crate::jobs;

/// A blob as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredBlob {
    /// The CID of its bytes.
    pub cid: Cid,
    /// Its media type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a blob was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A moderator hid this account's blob of the same bytes.
    #[error("Blob has been taken down")]
    Takendown,
    /// The same bytes are being deleted. Some minutes later they can be uploaded.
    #[error("the blob is being deleted")]
    BeingDeleted,
    /// A picture says where it was taken, and the policy is not to take such pictures.
    #[error("the picture names a place")]
    Location,
    /// It cannot be told whether a picture says where it was taken, or it cannot be removed.
    #[error("the picture cannot be inspected")]
    Unreadable(#[source] InspectError),
    /// The account has as much as it may have.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// There is no such account any more.
    #[error("Account not found")]
    AccountNotFound,
    /// The bytes could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Postgres failed.
    #[error("blob storage failed")]
    Storage(#[from] sqlx::Error),
}

/// What an upload goes by that may come in.
#[derive(Clone, Copy, Debug)]
struct Admission {
    quota: BlobQuota,
    /// When nothing was in the way, by Postgres's clock.
    looked_at: DateTime<Utc>,
}

impl Blobs {
    /// Takes in bytes of a blob that is on its way.
    pub fn spool(&self) -> Spool {
        self.objects.spool()
    }

    /// Stores a blob of an account, which has the DID `did`. Until a record refers to it nobody can read it.
    ///
    /// The account may have it already: then its bytes are stored again, which mends a store that lost them, and of a blob
    /// that a record referred to the type stays.
    pub async fn upload(
        &self,
        account: AccountId,
        did: &Did,
        content: Content,
        mime_type: &str,
    ) -> Result<StoredBlob, UploadError> {
        let (cid, size) = (content.cid(), content.size());
        let blob = StoredBlob { cid, mime_type: mime_type.to_owned(), size };
        let admission = self.admit(account, did, cid).await?;
        if !admission.quota.is_limited() {
            return self.store(account, did, (blob, content), admission).await;
        }
        self.reserve(account, admission.quota, &blob).await?;
        let stored = self.store(account, did, (blob, content), admission).await;
        if stored.is_err() {
            // If this fails as well, the place comes back by itself.
            let released = async { quota::release(&mut *self.pool.acquire().await?, account, cid).await };
            let _: sqlx::Result<()> = released.await;
        }
        stored
    }

    /// Stores the object and then the row.
    async fn store(
        &self,
        account: AccountId,
        did: &Did,
        (blob, content): (StoredBlob, Content),
        admission: Admission,
    ) -> Result<StoredBlob, UploadError> {
        let cid = blob.cid;
        self.objects.put(ObjectId { did, cid }, content).await?;
        let refusal = match self.store_row(account, admission, &blob).await? {
            Ok(Some(mime_type)) => return Ok(StoredBlob { mime_type, ..blob }),
            // If nothing is in the way, it took too long; the object goes.
            Ok(None) => self.admit(account, did, cid).await.err().unwrap_or(UploadError::BeingDeleted),
            Err(exceeded) => exceeded.into(),
        };
        self.take_back(account, did, cid).await?;
        Err(refusal)
    }

    /// Takes the blob's place in the account's quota, for some minutes.
    async fn reserve(&self, account: AccountId, quota: BlobQuota, blob: &StoredBlob) -> Result<(), UploadError> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        quota::reserve(&mut transaction, account, quota, blob).await??;
        Ok(transaction.commit().await?)
    }

    /// Has an object removed that was stored and has no row, or is taken down.
    async fn take_back(&self, account: AccountId, did: &Did, cid: Cid) -> sqlx::Result<()> {
        let mut conn = self.pool.acquire().await?;
        if store::find_bars(&mut conn, account, did, cid).await?.taken_down {
            return jobs::enqueue(&mut conn, &PlaceObject { did: did.clone(), cid, again: false }).await;
        }
        store::upsert_deletion(&mut conn, did, cid).await
    }

    /// Fails if these bytes may not come in for this account now.
    async fn admit(&self, account: AccountId, did: &Did, cid: Cid) -> Result<Admission, UploadError> {
        let bars = store::find_bars(&mut *self.pool.acquire().await?, account, did, cid).await?;
        match bars {
            Bars { taken_down: true, .. } => Err(UploadError::Takendown),
            Bars { being_deleted: true, .. } => Err(UploadError::BeingDeleted),
            Bars { no_account: true, .. } => Err(UploadError::AccountNotFound),
            Bars { own_quota, looked_at, .. } => Ok(Admission { quota: self.quotas.effective(own_quota), looked_at }),
        }
    }

    /// Stores the row of a blob, if it still fits in: its place may have run out, and others have taken it. Gives its
    /// media type; `None` if something else is in the way.
    async fn store_row(
        &self,
        account: AccountId,
        Admission { quota, looked_at }: Admission,
        blob: &StoredBlob,
    ) -> sqlx::Result<Result<Option<String>, QuotaExceeded>> {
        let mut conn = self.pool.acquire().await?;
        if !quota.is_limited() {
            let row = store::upsert_blob(&mut conn, account, blob, looked_at).await?;
            return Ok(Ok(row.map(|row| row.mime_type)));
        }
        let mut transaction = conn.begin().await?;
        let Some(row) = store::upsert_blob(&mut transaction, account, blob, looked_at).await? else {
            return Ok(Ok(None));
        };
        if row.is_new
            && let Err(exceeded) = quota::check_again(&mut transaction, account, quota, blob).await?
        {
            transaction.rollback().await?;
            return Ok(Err(exceeded));
        }
        quota::release(&mut transaction, account, blob.cid).await?;
        transaction.commit().await?;
        Ok(Ok(Some(row.mime_type)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blob::{MemoryStore, Objects};
    use crate::testing::{TestDb, seed};

    #[tokio::test]
    async fn an_upload_that_stood_still_has_no_row_for_bytes_that_may_be_gone() {
        let db = TestDb::create().await;
        let (pool, store) = (db.pool(), MemoryStore::new(1, 0));
        let alice = seed::account(&pool, "alice.test").await;
        let did: Did = seed::did_of("alice.test").parse().unwrap();
        let blobs = Blobs::new(pool.clone(), Objects::in_memory(&store));
        for (stood_still, is_taken) in [(Duration::from_mins(9), true), (Duration::from_mins(10), false)] {
            let mut spool = blobs.spool();
            spool.push(stood_still.as_secs().to_string().as_bytes()).await.unwrap();
            let content = spool.finish().await.unwrap();
            let (cid, size) = (content.cid(), content.size());
            let blob = StoredBlob { cid, mime_type: "text/plain".to_owned(), size };
            let admission = blobs.admit(alice, &did, cid).await.unwrap();
            let admission = Admission { looked_at: admission.looked_at - stood_still, ..admission };
            match blobs.store(alice, &did, (blob, content), admission).await {
                Ok(_) => assert!(is_taken),
                Err(error) => assert!(matches!(error, UploadError::BeingDeleted) && !is_taken, "{error:?}"),
            }
        }
        assert_eq!(seed::blob_deletions(&pool).await, 1, "what was stored too late goes");
    }
}
