//! Checking that the store has what the database says.

mod store;
#[cfg(test)]
mod tests;

use atproto::data::{Cid, Codec};
use atproto::syntax::Did;
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use super::object::Area;
use super::{BlobError, Object, ObjectId, Objects, PlaceObject, StoreError};
use crate::db::{AccountId, PgPool};
use crate::jobs;

/// Between which blobs, in the order of accounts and CIDs.
type Place = (AccountId, Option<Cid>);

/// Before all of them.
const START: Place = (AccountId::new(0), None);

/// A blob whose bytes should be there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedBlob {
    account: AccountId,
    /// Whose it is.
    pub did: Did,
    /// The CID that its bytes should have.
    pub cid: Cid,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is taken down.
    pub is_hidden: bool,
}

/// What was found of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Its bytes are what they should be, and where.
    Sound,
    /// There are no bytes.
    Missing,
    /// There are other bytes.
    Corrupt {
        /// Their CID.
        found: Cid,
        /// How many they are.
        size: u64,
    },
    /// It is taken down, but its bytes are where readers look.
    Exposed,
}

/// Reads blobs and compares them with their CIDs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobChecker {
    pool: PgPool,
    objects: Objects,
}

impl BlobChecker {
    /// Checks the blobs of `pool`'s database, whose bytes are in `objects`.
    pub fn new(pool: PgPool, objects: Objects) -> Self {
        Self { pool, objects }
    }

    /// A page of all blobs that should be there, or those of one account, in the order of accounts and CIDs from after
    /// `after`.
    pub async fn list(
        &self,
        did: Option<&Did>,
        after: Option<&CheckedBlob>,
        limit: u16,
    ) -> sqlx::Result<Vec<CheckedBlob>> {
        let place = after.map_or(START, |blob| (blob.account, Some(blob.cid)));
        store::list_behind(&mut *self.pool.acquire().await?, did, place, limit).await
    }

    /// Any blob: the first one behind a random place. `None` if there is none at all.
    ///
    /// An account with many blobs is as likely as one with few.
    pub async fn pick(&self) -> sqlx::Result<Option<CheckedBlob>> {
        let mut conn = self.pool.acquire().await?;
        let account = store::account_behind(&mut conn, rand::random()).await?;
        let cid = Cid::from_digest(Codec::Raw, rand::random());
        let found = store::list_behind(&mut conn, None, (account, Some(cid)), 1).await?;
        let found = if found.is_empty() { store::list_behind(&mut conn, None, START, 1).await? } else { found };
        Ok(found.into_iter().next())
    }

    /// Has a worker put the bytes of a blob out of use that are exposed, as after a takedown.
    pub async fn put_out_of_use(&self, blob: &CheckedBlob) -> sqlx::Result<()> {
        let job = PlaceObject { did: blob.did.clone(), cid: blob.cid, again: false };
        jobs::enqueue(&mut *self.pool.acquire().await?, &job).await
    }

    /// Reads a blob. `None` if it was deleted since it was listed.
    ///
    /// Holds some pieces of it at a time.
    pub async fn check(&self, blob: &CheckedBlob) -> Result<Option<Condition>, BlobError> {
        let mut blob = blob.clone();
        loop {
            let condition = self.look(&blob).await?;
            if condition == Condition::Sound {
                return Ok(Some(condition));
            }
            // It may have been deleted, or hidden, or shown again, while we looked.
            let now = store::find(&mut *self.pool.acquire().await?, blob.account, blob.cid).await?;
            match now {
                None => return Ok(None),
                Some(now) if now == blob => return Ok(Some(condition)),
                Some(now) => blob = now,
            }
        }
    }

    async fn look(&self, blob: &CheckedBlob) -> Result<Condition, StoreError> {
        let id = ObjectId { did: &blob.did, cid: blob.cid };
        let in_use = if blob.is_hidden {
            if self.objects.size(id).await?.is_some() {
                return Ok(Condition::Exposed);
            }
            None
        } else {
            self.objects.get(id, None).await?
        };
        let object = match in_use {
            None => self.objects.get_in(Area::Quarantine, id, None).await?,
            found => found,
        };
        match object {
            None => Ok(Condition::Missing),
            Some(object) => compare(object, blob).await,
        }
    }
}

async fn compare(object: Object, blob: &CheckedBlob) -> Result<Condition, StoreError> {
    let (mut digest, mut size, mut pieces) = (Sha256::new(), 0, object.bytes);
    while let Some(piece) = pieces.try_next().await? {
        digest.update(&piece);
        size += piece.len() as u64;
    }
    let found = Cid::from_digest(Codec::Raw, digest.finalize().into());
    if (found, size) == (blob.cid, blob.size) { Ok(Condition::Sound) } else { Ok(Condition::Corrupt { found, size }) }
}
