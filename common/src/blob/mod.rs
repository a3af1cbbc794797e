//! Blobs: which of them an account has, which its records refer to, and their bytes.
//!
//! | | Row | Object | Who can read it |
//! |---|---|---|---|
//! | missing | none | none | an imported record refers to it; it is to be uploaded yet |
//! | uploaded | `temporary` | in use | nobody |
//! | referred to | `permanent` | in use | everybody, as long as a record refers to it |
//! | in quarantine | `temporary`, with a `delete_after` | in use | nobody; a record that refers to it brings it back |
//! | taken down | with a mark | out of use | nobody |
//! | given up | of `blob_deletion` | going | nobody |
//!
//! Owns `blob`, `record_blob`, `blob_dereference`, `blob_deletion`, `blob_sweep`, `blob_quota`, `blob_reservation` and
//! `blob_usage`; the bytes are in [`object`].
//! What no record refers to goes after a time ([`collect`]), unless an operator [keeps](Blobs::keep) it. A commit that
//! writes records with references stores these in its own statement (see
//! `common::repo`), and only if each blob is there; an import stores them whether it is there or not.
//!
//! # Deleting a blob
//! A commit holds a share lock on the rows of the blobs it refers to, until it stands. So whoever deletes blobs locks a
//! row first (`FOR UPDATE`) and looks for references in a statement after that: a look in the statement that locks may
//! be older than the lock. A commit never waits for such a lock; it comes again.

mod check;
mod collect;
mod keep;
mod media_type;
mod metadata;
mod object;
mod orphan;
mod quota;
mod store;
mod takedown;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::{Nsid, RecordKey, Tid};
use sqlx::PgConnection;

use crate::config::{BlobConfig, BlobDelivery, BlobQuota};
use crate::db::{AccountId, PgPool};
pub use check::{BlobChecker, CheckedBlob, Condition};
pub use collect::{CollectError, Collected, Collector, CollectorCounts, Forecast, Grace, Tally, give_up};
pub use keep::Quarantined;
pub use media_type::media_type;
pub use metadata::expose;
#[cfg(any(test, feature = "testing"))]
pub use object::MemoryStore;
pub use object::expose as expose_store;
use object::{Area, LOST};
pub use object::{CheckError, Content, Listed, Object, ObjectId, Objects, Page, Spool, StoreError};
pub use orphan::Orphans;
pub use quota::{BlobQuotas, BlobUsage, QuotaExceeded};
pub use takedown::{BlobMark, PlaceObject};
pub use upload::{StoredBlob, UploadError};

/// A record's reference to a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// The blob.
    pub cid: Cid,
    /// Collection of the record.
    pub collection: Nsid,
    /// Key of the record in it.
    pub rkey: RecordKey,
}

/// How many blobs an account has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobCounts {
    /// Blobs that its records refer to, there or not.
    pub expected: i64,
    /// Blobs that are there.
    pub present: i64,
}

/// Why the blobs could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Postgres failed.
    #[error("blob storage failed")]
    Storage(#[from] sqlx::Error),
}

/// How long an address of the store is good, unless the credentials of this server end before.
const PRESIGNED: Duration = Duration::from_mins(15);
/// How long others may remember where a blob is.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Where somebody else sends a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The address.
    pub url: String,
    /// How long it may be remembered.
    pub max_age: Duration,
}

/// The blobs of all accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    pool: PgPool,
    objects: Objects,
    quotas: BlobQuotas,
    delivery: Arc<BlobDelivery>,
}

impl Blobs {
    /// Serves the blobs in `pool`'s database, whose bytes are in `objects`, without quotas.
    pub fn new(pool: PgPool, objects: Objects) -> Self {
        let quotas = BlobQuotas::new(pool.clone(), BlobQuota::default());
        Self { pool, objects, quotas, delivery: Arc::new(BlobDelivery::Stream) }
    }

    /// The same, with quotas and other rules of the settings.
    #[must_use]
    pub fn with_rules(self, rules: &BlobConfig) -> Self {
        let quotas = BlobQuotas::new(self.pool.clone(), rules.quota);
        Self { quotas, delivery: Arc::new(rules.delivery.clone()), ..self }
    }

    /// How many blobs accounts may have.
    pub fn quotas(&self) -> &BlobQuotas {
        &self.quotas
    }

    /// Who else sends the bytes of a blob that everybody may read; `None` if nobody does.
    pub async fn locate(&self, id: ObjectId<'_>, blob: &StoredBlob) -> Result<Option<Location>, StoreError> {
        let url = match &*self.delivery {
            BlobDelivery::Stream => None,
            BlobDelivery::Cdn(pattern) => Some(pattern.url(id.did, id.cid)),
            BlobDelivery::Presign => self.objects.presign(id, &blob.mime_type, PRESIGNED).await?,
        };
        Ok(url.map(|url| Location { url, max_age: REMEMBERED }))
    }

    /// An account's blob, if a record refers to it and it is not taken down.
    pub async fn find_readable(&self, account: AccountId, cid: Cid) -> sqlx::Result<Option<StoredBlob>> {
        store::find_readable(&mut *self.pool.acquire().await?, account, cid).await
    }

    /// Reads the bytes of a blob, or those that `range` names, which must lie within. `None` if the store lost them.
    ///
    /// A blob that was taken down and is shown again is read from quarantine until it is back in use.
    pub async fn read(&self, id: ObjectId<'_>, range: Option<Range<u64>>) -> Result<Option<Object>, StoreError> {
        let found = match self.objects.get(id, range.clone()).await? {
            None => self.objects.get_in(Area::Quarantine, id, range).await?,
            found => found,
        };
        if found.is_none() {
            LOST.increment();
        }
        Ok(found)
    }

    /// Whether the store has the bytes of a blob, all of them.
    pub async fn has_bytes(&self, id: ObjectId<'_>, size: u64) -> Result<bool, StoreError> {
        let found = match self.objects.size(id).await? {
            None => self.objects.size_in(Area::Quarantine, id).await?,
            found => found,
        };
        if found.is_none() {
            LOST.increment();
        }
        Ok(found == Some(size))
    }

    /// How many blobs an account has, and should have.
    pub async fn count(&self, account: AccountId) -> sqlx::Result<BlobCounts> {
        store::count(&mut *self.pool.acquire().await?, account).await
    }

    /// A page of the blobs that an account's records refer to, each once, there or not, by rising CID (in its binary
    /// form) from after `after`. With `since`, only those of records written after that rev.
    pub async fn list_referenced(
        &self,
        account: AccountId,
        since: Option<Tid>,
        after: Option<Cid>,
        limit: u16,
    ) -> sqlx::Result<Vec<Cid>> {
        store::list_referenced(&mut *self.pool.acquire().await?, account, since, (after, limit)).await
    }

    /// A page of the blobs that an account's records refer to and that are not there, each with one of the records, in
    /// the order of [`Blobs::list_referenced`].
    pub async fn list_missing(
        &self,
        account: AccountId,
        after: Option<Cid>,
        limit: u16,
    ) -> sqlx::Result<Vec<Reference>> {
        store::list_missing(&mut *self.pool.acquire().await?, account, (after, limit)).await
    }
}

/// Stores references of records that a commit with this rev wrote, whether the blobs are there or not: in a transaction, to
/// whose end nobody deletes these blobs. References that are stored already take on the rev.
pub async fn insert_references(
    conn: &mut PgConnection,
    account: AccountId,
    rev: Tid,
    references: &[Reference],
) -> sqlx::Result<()> {
    store::insert_references(conn, account, rev, references).await
}

/// Deletes references by collection, key and blob, such as those of records that are not there. Gives how many there were.
pub async fn delete_references(
    conn: &mut PgConnection,
    account: AccountId,
    references: &[(String, String, Cid)],
) -> sqlx::Result<u64> {
    store::delete_references(conn, account, references).await
}

/// Those of `cids` that the account uploaded and no record has referred to yet.
pub async fn list_unreferenced(
    conn: &mut PgConnection,
    account: AccountId,
    cids: &[Cid],
) -> sqlx::Result<Vec<StoredBlob>> {
    store::list_temporary(conn, account, cids).await
}

/// The first of `cids` that a record of this account may not refer to: nobody uploaded it, or it is taken down.
pub async fn find_missing(conn: &mut PgConnection, account: AccountId, cids: &[Cid]) -> sqlx::Result<Option<Cid>> {
    let there = store::list_usable(conn, account, cids).await?;
    Ok(cids.iter().find(|cid| !there.contains(cid)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::testing::{TestDb, seed};

    fn reference(blob: &[u8], rkey: &str) -> Reference {
        let collection = "com.example.note".parse().unwrap();
        Reference { cid: Cid::raw(blob), collection, rkey: rkey.parse().unwrap() }
    }

    async fn insert(db: &TestDb, account: AccountId, rev: &str, references: &[Reference]) {
        let mut conn = db.pool().acquire().await.unwrap();
        insert_references(&mut conn, account, rev.parse().unwrap(), references).await.unwrap();
    }

    /// Bytes are not what these tests are about.
    fn blobs(db: &TestDb) -> Blobs {
        Blobs::new(db.pool(), Objects::from_config(&Config::for_tests().blobstore))
    }

    const REVS: [&str; 2] = ["3jzfcijpj2z2a", "3jzfcijpj2z2b"];

    #[tokio::test]
    async fn pages_name_each_blob_once() {
        let db = TestDb::create().await;
        let (alice, bob) = (seed::account(&db.pool(), "alice.test").await, seed::account(&db.pool(), "bob.test").await);
        let blobs = blobs(&db);
        assert_eq!(blobs.list_referenced(alice, None, None, 10).await.unwrap(), []);

        let references: Vec<_> = (0..10_u8).map(|n| reference(&[n % 5], &n.to_string())).collect();
        insert(&db, alice, REVS[0], &references).await;
        insert(&db, bob, REVS[0], &[reference(b"elsewhere", "a")]).await;
        let mut expected: Vec<Cid> = (0..5_u8).map(|n| Cid::raw(&[n])).collect();
        expected.sort();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = blobs.list_referenced(alice, None, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(*last);
            found.extend(page);
        }
        assert_eq!(found, expected);

        insert(&db, alice, REVS[1], &[reference(&[1], "1")]).await;
        let since = Some(REVS[0].parse().unwrap());
        assert_eq!(blobs.list_referenced(alice, since, None, 10).await.unwrap(), [Cid::raw(&[1])]);
        assert_eq!(blobs.list_referenced(alice, Some(REVS[1].parse().unwrap()), None, 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn blobs_of_other_accounts_are_missing_here() {
        let db = TestDb::create().await;
        let (alice, bob) = (seed::account(&db.pool(), "alice.test").await, seed::account(&db.pool(), "bob.test").await);
        let blobs = blobs(&db);
        let references = [reference(b"here", "a"), reference(b"there", "b"), reference(b"there", "c")];
        insert(&db, alice, REVS[0], &references).await;
        assert_eq!(blobs.list_missing(alice, None, 10).await.unwrap().len(), 2);

        seed::blob(&db.pool(), &seed::did_of("alice.test"), b"here").await;
        seed::blob(&db.pool(), &seed::did_of("bob.test"), b"there").await;
        let conn = &mut *db.pool().acquire().await.unwrap();
        let (here, there) = (Cid::raw(b"here"), Cid::raw(b"there"));
        assert_eq!(find_missing(conn, alice, &[here, there]).await.unwrap(), Some(there));
        assert_eq!(find_missing(conn, alice, &[here, here]).await.unwrap(), None);
        let missing = blobs.list_missing(alice, None, 10).await.unwrap();
        assert_eq!(missing, [reference(b"there", "b")], "once, though two records refer to it");
        assert_eq!(blobs.list_missing(alice, Some(missing[0].cid), 10).await.unwrap(), []);
        assert_eq!(blobs.list_missing(bob, None, 10).await.unwrap(), []);
    }
}
