//! The bytes of blobs: in an S3 bucket, or in a folder of this machine.
//!
//! | | S3 key | File |
//! |---|---|---|
//! | in use | `blocks/<did>/<cid>` | `<location>/<did>/<cid>` |
//! | taken down | `quarantine/<did>/<cid>` | `<location>/quarantine/<did>/<cid>` |
//!
//! What is in front of a bucket or folder should show the first and must not show the second.
//!
//! These are the reference server's names, so that an operator brings a store along as it is. What an account uploaded lies
//! below its own DID: whatever happens to it, the same bytes of another account stay.
//!
//! An object is written whole or not at all, under the CID of its bytes. So it does no harm to write it again, and nobody
//! ever reads half of one. Which objects count is Postgres's to say; one that no row names is waste.
//!
//! # Deletions that come late
//! Whoever deletes an object does so because Postgres said that nobody needs it, and may stand still between the question
//! and the request, or the request on its way, for any length of time: by then the same bytes may have been uploaded
//! again, to the same key. No clock of this process helps against that. So a request to delete says as of when Postgres
//! was asked, by Postgres's clock, and the one who obeys refuses it [`OBEYED`] after that:
//!
//! * a bucket, because the request is signed as of then and for that long, however often and whenever it is sent;
//! * in a folder, whoever looks at the clock and removes the file holds the account's folder, and so does whoever puts a
//!   file there: what is put after the time is up cannot be removed by who looked before.
//!
//! Until twice that time has passed nobody may put the object there again: see `common::blob::collect`. So the clocks of
//! Postgres and the store may differ by [`OBEYED`] and no more. A bucket whose clock is further ahead refuses to delete
//! anything, which a metric tells.

mod disk;
mod list;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod metrics;
mod presigned;
mod reader;
mod s3;
mod spool;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;

use crate::config::BlobstoreConfig;
use disk::Folder;
pub use list::{Listed, Page};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryStore;
pub(super) use metrics::LOST;
pub use metrics::expose;
use s3::Bucket;
pub use spool::{Content, Spool};

/// How long a request to delete is obeyed, from the question to Postgres on.
pub(super) const OBEYED: Duration = Duration::from_mins(5);

/// Whose blob, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObjectId<'a> {
    /// The account.
    pub did: &'a Did,
    /// The CID of the bytes.
    pub cid: Cid,
}

/// The key of its path in either store, without what is in front.
impl fmt::Display for ObjectId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.did, self.cid)
    }
}

/// Where an object lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Area {
    /// Where readers, and whatever is in front of the store, look.
    InUse,
    /// Where nobody but us does.
    Quarantine,
}

/// An object that is being read.
pub struct Object {
    /// How many bytes come.
    pub len: u64,
    /// The bytes; an error if the store breaks off.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It took too long.
    #[error("the blob store did not answer in time")]
    Timeout,
    /// It cannot be reached, refused, or has no room.
    #[error("the blob store failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

/// What is wrong with the store as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The folder cannot be written to.
    #[error("cannot keep blobs in {}, which PDS_BLOBSTORE_DISK_LOCATION or PDS_BLOBSTORE_DISK_TMP_LOCATION names", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such bucket.
    #[error("there is no bucket {0}, which PDS_BLOBSTORE_S3_BUCKET names")]
    NoBucket(String),
    /// It cannot be said: the store did not answer, or does not let us ask.
    #[error("cannot look at the blob store")]
    Unknown(#[source] StoreError),
}

/// The objects of all accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects(Arc<Store>);

/// The requests of S3 are boxed: the SDK's futures are large, and those that wait for them would be, too.
#[derive(Debug)]
enum Store {
    S3(Box<Bucket>),
    Disk(Folder),
    #[cfg(any(test, feature = "testing"))]
    Memory(MemoryStore),
}

impl Objects {
    /// The configured store. Asks nobody yet; see [`Objects::check`].
    pub fn from_config(config: &BlobstoreConfig) -> Self {
        Self(Arc::new(match config {
            BlobstoreConfig::S3(config) => Store::S3(Box::new(Bucket::new(config.clone()))),
            BlobstoreConfig::Disk(config) => Store::Disk(Folder::new(config.clone())),
        }))
    }

    /// The store of a test.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory(store: &MemoryStore) -> Self {
        Self(Arc::new(Store::Memory(store.clone())))
    }

    /// Whether the store is there. Makes folders that are not.
    ///
    /// # Errors
    /// [`CheckError::Unknown`] may pass; what else is wrong takes the operator.
    pub async fn check(&self) -> Result<(), CheckError> {
        match &*self.0 {
            Store::S3(bucket) => Box::pin(bucket.check()).await,
            Store::Disk(folder) => folder.check().await,
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(_) => Ok(()),
        }
    }

    /// Takes in bytes that are on their way.
    pub fn spool(&self) -> Spool {
        Spool::new(match &*self.0 {
            Store::S3(bucket) => bucket.uploads(),
            Store::Disk(folder) => folder.uploads(),
            #[cfg(any(test, feature = "testing"))]
            // What a test keeps there fits into memory.
            Store::Memory(_) => PathBuf::new(),
        })
    }

    /// Stores an object. When this returns it will survive a crash of the machine; if it fails, there may be one or none.
    ///
    /// `content` must be what the id names, and of this store's [`spool`](Objects::spool).
    pub async fn put(&self, id: ObjectId<'_>, content: Content) -> Result<(), StoreError> {
        debug_assert_eq!(id.cid, content.cid(), "an object's name is what it holds");
        match &*self.0 {
            Store::S3(bucket) => metrics::PUT.over(Box::pin(bucket.put(id, content))).await,
            Store::Disk(folder) => metrics::PUT.over(folder.put(id, content)).await,
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(memory) => memory.put(id, content).await,
        }
    }

    /// Reads an object that is in use, or the bytes of it that `range` names, which must lie within. `None` if there is none.
    pub async fn get(&self, id: ObjectId<'_>, range: Option<Range<u64>>) -> Result<Option<Object>, StoreError> {
        self.get_in(Area::InUse, id, range).await
    }

    pub(super) async fn get_in(
        &self,
        area: Area,
        id: ObjectId<'_>,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StoreError> {
        match &*self.0 {
            Store::S3(bucket) => metrics::GET.over(Box::pin(bucket.get(id, area, range))).await,
            Store::Disk(folder) => metrics::GET.over(folder.get(id, area, range)).await,
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(memory) => memory.get(id, area, range).await,
        }
    }

    /// An address from which anybody reads an object that is in use, for `lifetime` less some minutes. The store says
    /// that it is of this type, and lets browsers save it only. `None` if this store answers nobody but us.
    pub async fn presign(
        &self,
        id: ObjectId<'_>,
        media_type: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, StoreError> {
        match &*self.0 {
            Store::S3(bucket) => Box::pin(bucket.presign(id, media_type, lifetime)).await.map(Some),
            Store::Disk(_) => Ok(None),
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(_) => Ok(None),
        }
    }

    /// The size of an object that is in use, in bytes. `None` if there is none.
    pub async fn size(&self, id: ObjectId<'_>) -> Result<Option<u64>, StoreError> {
        self.size_in(Area::InUse, id).await
    }

    pub(super) async fn size_in(&self, area: Area, id: ObjectId<'_>) -> Result<Option<u64>, StoreError> {
        match &*self.0 {
            Store::S3(bucket) => metrics::SIZE.over(Box::pin(bucket.size(id, area))).await,
            Store::Disk(folder) => metrics::SIZE.over(folder.size(id, area)).await,
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(memory) => memory.size(id, area).await,
        }
    }

    /// Deletes an object wherever it lies; there may be none. `looked_at` is when Postgres was asked whether it may go, by
    /// its clock.
    ///
    /// # Errors
    /// Also if that was too long ago.
    pub async fn delete(&self, id: ObjectId<'_>, looked_at: DateTime<Utc>) -> Result<(), StoreError> {
        for area in [Area::Quarantine, Area::InUse] {
            self.delete_in(area, id, looked_at).await?;
        }
        Ok(())
    }

    /// Puts an object out of use, where only [`restore`](Objects::restore) finds it. False if there is none in use.
    /// `looked_at` as for [`delete`](Objects::delete).
    pub async fn quarantine(&self, id: ObjectId<'_>, looked_at: DateTime<Utc>) -> Result<bool, StoreError> {
        let is_copied = self.copy(id, Area::InUse, Area::Quarantine).await?;
        if is_copied {
            self.delete_in(Area::InUse, id, looked_at).await?;
        }
        Ok(is_copied)
    }

    /// Puts an object back into use. False if there is none, neither in use nor in quarantine.
    ///
    /// What is in quarantine stays there, until the object is deleted: somebody may be putting it out of use at this moment,
    /// and between two who each delete what the other copies it would be lost.
    pub async fn restore(&self, id: ObjectId<'_>) -> Result<bool, StoreError> {
        if self.size(id).await?.is_some() {
            return Ok(true);
        }
        self.copy(id, Area::Quarantine, Area::InUse).await
    }

    async fn delete_in(&self, area: Area, id: ObjectId<'_>, looked_at: DateTime<Utc>) -> Result<(), StoreError> {
        match &*self.0 {
            Store::S3(bucket) => metrics::DELETE.over(Box::pin(bucket.delete(id, area, looked_at))).await,
            Store::Disk(folder) => metrics::DELETE.over(folder.delete(id, area, looked_at)).await,
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(memory) => memory.delete(id, area, looked_at).await,
        }
    }

    /// False if there is none to copy.
    async fn copy(&self, id: ObjectId<'_>, from: Area, to: Area) -> Result<bool, StoreError> {
        match &*self.0 {
            Store::S3(bucket) => metrics::COPY.over(Box::pin(bucket.copy(id, from, to))).await,
            Store::Disk(folder) => metrics::COPY.over(folder.copy(id, from, to)).await,
            #[cfg(any(test, feature = "testing"))]
            Store::Memory(memory) => memory.copy(id, from, to).await,
        }
    }
}
