//! Removing blobs that nobody will need: uploads that no record came to refer to, and those of deleted accounts.
//!
//! Bytes cannot be deleted in the transaction that deletes their row, and somebody may be uploading the same again. So a blob
//! goes in three steps:
//!
//! 1. Its row goes, and one of `blob_deletion` comes. From here on it is missing, and an upload of it is told to come again.
//! 2. A minute later its bytes go, unless the account has the blob again: by then an upload that did not see the row of
//!    `blob_deletion` has ended, and what it stored can be seen.
//! 3. Ten minutes later the row of `blob_deletion` goes: by then no request to delete the bytes can be on its way any more.
//!
//! A worker that is killed leaves the rest to the next one.

mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use sqlx::PgConnection;
use tokio::time::Instant;

use super::{ObjectId, Objects, StoreError};
use crate::db::{AccountId, PgPool};

/// Rows that one transaction takes.
const STEP: i64 = 500;
/// Objects that one run deletes.
const OBJECTS: i64 = 2_000;
/// How long a run may go on with what it read. Much shorter than the rows of `blob_deletion` stay.
const PATIENCE: Duration = Duration::from_mins(3);

/// Removes blobs; see the module.
#[derive(Clone, Debug)]
pub struct Collector {
    pool: PgPool,
    objects: Objects,
    ttl: Duration,
}

/// What a run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// Blobs that were given up.
    pub blobs: usize,
    /// Objects that were deleted, of these or earlier ones.
    pub objects: usize,
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave {} unused uploads up and deleted {} objects", self.blobs, self.objects)
    }
}

/// Why a run did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store did not delete some objects.
    #[error("the blob store did not delete {failed} objects")]
    Store {
        /// How many.
        failed: usize,
        /// What it said of the last one.
        source: StoreError,
    },
    /// Postgres failed.
    #[error("blob storage failed")]
    Storage(#[from] sqlx::Error),
}

/// A blob whose bytes are to go.
struct Doomed {
    did: Did,
    cid: Cid,
}

impl Collector {
    /// Gives up what no record of an account refers to `ttl` after its upload.
    pub fn new(pool: PgPool, objects: Objects, ttl: Duration) -> Self {
        Self { pool, objects, ttl }
    }

    /// Does one run. Safe to drop, and to run twice at once.
    ///
    /// # Errors
    /// What can be done is done also if the store fails.
    pub async fn collect(&self) -> Result<Collected, CollectError> {
        let blobs = self.give_up_unused().await?;
        let objects = self.delete_objects().await?;
        store::delete_done(&mut *self.pool.acquire().await?).await?;
        Ok(Collected { blobs, objects })
    }

    async fn give_up_unused(&self) -> sqlx::Result<usize> {
        let mut given_up = 0;
        loop {
            let mut conn = self.pool.acquire().await?;
            let mut transaction = conn.begin().await?;
            let unused = store::lock_unused(&mut transaction, self.ttl, STEP).await?;
            // Looked for in statements after the lock: see `common::blob`.
            store::update_used(&mut transaction, &unused).await?;
            given_up += store::give_up_unused(&mut transaction, &unused).await?;
            transaction.commit().await?;
            if i64::try_from(unused.len()).is_ok_and(|found| found < STEP) {
                return Ok(given_up);
            }
        }
    }

    async fn delete_objects(&self) -> Result<usize, CollectError> {
        let started = Instant::now();
        store::delete_revived(&mut *self.pool.acquire().await?).await?;
        let doomed = store::list_doomed(&mut *self.pool.acquire().await?, OBJECTS).await?;
        let (mut deleted, mut failed, mut last) = (0, 0, None);
        for Doomed { did, cid } in doomed {
            if started.elapsed() > PATIENCE {
                break;
            }
            match self.objects.delete(ObjectId { did: &did, cid }).await {
                Ok(()) => {
                    store::update_deleted(&mut *self.pool.acquire().await?, &did, cid).await?;
                    deleted += 1;
                }
                Err(error) => {
                    failed += 1;
                    last = Some(error);
                }
            }
        }
        match last {
            None => Ok(deleted),
            Some(source) => Err(CollectError::Store { failed, source }),
        }
    }
}

/// Gives up some blobs of a deleted account, at most `limit`; gives how many. Its DID names their bytes.
pub async fn give_up(conn: &mut PgConnection, account: AccountId, did: &Did, limit: i64) -> sqlx::Result<u64> {
    store::give_up(conn, account, did, limit).await
}
