//! Blobs that come in.
//!
//! The object is stored first, then the row that makes it count. So a row has its bytes from the beginning, and what breaks
//! off in between leaves an object that nothing names, which [`orphan`](super::orphan) finds. While the same bytes are being
//! deleted neither is done: see [`collect`](super::collect).

use atproto::data::Cid;
use atproto::syntax::Did;
use picture::InspectError;

use super::object::{Content, ObjectId, Spool, StoreError};
use super::store::{self, Bars};
use super::{Blobs, PlaceObject};
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
        self.check_open(did, cid).await?;
        self.objects.put(ObjectId { did, cid }, content).await?;
        let stored = store::upsert_blob(&mut *self.pool.acquire().await?, account, &blob).await?;
        if let Some(mime_type) = stored {
            return Ok(StoredBlob { mime_type, ..blob });
        }
        let refusal = self.check_open(did, cid).await.err().unwrap_or(UploadError::AccountNotFound);
        self.take_back(did, cid).await?;
        Err(refusal)
    }

    /// Has an object removed that was stored and has no row, or is taken down.
    async fn take_back(&self, did: &Did, cid: Cid) -> sqlx::Result<()> {
        let mut conn = self.pool.acquire().await?;
        if store::find_bars(&mut conn, did, cid).await?.taken_down {
            return jobs::enqueue(&mut conn, &PlaceObject { did: did.clone(), cid, again: false }).await;
        }
        store::upsert_deletion(&mut conn, did, cid).await
    }

    /// Fails if these bytes may not come in for this DID now.
    async fn check_open(&self, did: &Did, cid: Cid) -> Result<(), UploadError> {
        let bars = store::find_bars(&mut *self.pool.acquire().await?, did, cid).await?;
        match bars {
            Bars { taken_down: true, .. } => Err(UploadError::Takendown),
            Bars { being_deleted: true, .. } => Err(UploadError::BeingDeleted),
            Bars { taken_down: false, being_deleted: false } => Ok(()),
        }
    }
}
