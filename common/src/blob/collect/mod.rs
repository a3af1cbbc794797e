//! Removing blobs that nobody will need: uploads that no record came to refer to, what lost its last reference, and the
//! blobs of deleted accounts.
//!
//! A blob goes in steps, each of which looks at it anew, under a lock of its row:
//!
//! 1. An upload that no record refers to is *quarantined* some time after it, and what lost its last reference some time
//!    after that ([`Grace`]): its row says when it will be given up. Nothing else changes. Whoever refers to it or uploads
//!    it again has it back as it was.
//! 2. When its time is up it is *given up*: its row goes, and one of `blob_deletion` comes. From here on it is missing, and
//!    an upload of it is told to come again. The blobs of a deleted account begin here: nothing could refer to them again.
//! 3. Three minutes later its bytes go, unless the account has the blob again. By then a transaction that did not see the row
//!    of `blob_deletion` has ended: a statement takes half a minute at most, and Postgres ends who then does nothing for
//!    a minute.
//! 4. Ten minutes after that the row of `blob_deletion` goes. By then no store obeys anybody who looked before the bytes were
//!    deleted, however late the request comes: that is not for a clock of a worker to say, which may stand still for hours
//!    between its look and its request. The look's time, by Postgres's clock, is part of the request, and the store refuses
//!    it five minutes after that; five more are for clocks that differ. See [`object`](super::object).
//!
//! What nobody noted is found by a [`sweep`] through all blobs.
//!
//! What is taken down stays, so that it can be restored, and because its mark keeps it from being uploaded again.
//!
//! A worker that is killed leaves the rest to the next one.

mod doomed;
mod forecast;
mod report;
mod store;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use atproto::syntax::Did;
use sqlx::PgConnection;

use super::{Objects, StoreError};
use crate::config::BlobConfig;
use crate::db::{AccountId, PgPool};
pub use forecast::Forecast;
pub use report::{Collected, CollectorCounts, Tally};

/// Rows that one transaction takes.
const STEP: i64 = 500;

/// How long what nobody needs is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grace {
    /// An upload that no record came to refer to.
    pub unreferenced: Duration,
    /// A blob that lost its last reference.
    pub dereferenced: Duration,
    /// Either, in quarantine after that.
    pub quarantine: Duration,
}

impl Grace {
    /// As the settings say.
    pub fn from_config(config: &BlobConfig) -> Self {
        let &BlobConfig { unreferenced_ttl, dereferenced_ttl, quarantine, .. } = config;
        Self { unreferenced: unreferenced_ttl, dereferenced: dereferenced_ttl, quarantine }
    }
}

/// Removes blobs; see the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collector {
    pool: PgPool,
    objects: Objects,
    grace: Grace,
    counts: Arc<CollectorCounts>,
}

/// Why a run did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store did not delete some objects.
    #[error("the blob store did not delete {failed} objects")]
    Store {
        /// How many.
        failed: u64,
        /// What it said of the last one.
        source: StoreError,
    },
    /// Postgres failed.
    #[error("blob storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Collector {
    /// Removes blobs of `pool`'s database, whose bytes are in `objects`.
    pub fn new(pool: PgPool, objects: Objects, grace: Grace) -> Self {
        Self { pool, objects, grace, counts: Arc::default() }
    }

    /// What it has done so far, for metrics.
    pub fn counts(&self) -> Arc<CollectorCounts> {
        Arc::clone(&self.counts)
    }

    /// Does one run. Safe to drop, and to run twice at once.
    ///
    /// # Errors
    /// What can be done is done also if the store fails.
    pub async fn collect(&self) -> Result<Collected, CollectError> {
        let mut collected = Collected { quarantined: self.quarantine_unused().await?, ..Collected::default() };
        collected.quarantined += self.quarantine_dereferenced().await?;
        collected.given_up = self.give_up_expired().await?;
        self.sweep().await?;
        let objects = self.delete_objects().await;
        self.forget_deletions().await?;
        collected.objects = objects?;
        Ok(collected)
    }

    async fn quarantine_unused(&self) -> sqlx::Result<Tally> {
        let mut total = Tally::default();
        loop {
            let mut conn = self.pool.acquire().await?;
            let mut transaction = conn.begin().await?;
            let unused = store::lock_unused(&mut transaction, self.grace.unreferenced, STEP).await?;
            if unused.is_empty() {
                return Ok(total);
            }
            // Looked for in statements after the lock: see `common::blob`.
            store::update_used(&mut transaction, &unused).await?;
            let step = store::quarantine(&mut transaction, &unused, self.grace.quarantine).await?;
            transaction.commit().await?;
            self.counts.quarantined.add(step);
            total += step;
            if is_last(unused.len()) {
                return Ok(total);
            }
        }
    }

    async fn quarantine_dereferenced(&self) -> sqlx::Result<Tally> {
        let mut total = Tally::default();
        loop {
            let mut conn = self.pool.acquire().await?;
            let mut transaction = conn.begin().await?;
            let noted = store::take_dereferenced(&mut transaction, self.grace.dereferenced, STEP).await?;
            if noted.is_empty() {
                return Ok(total);
            }
            let locked = store::lock_permanent(&mut transaction, &noted).await?;
            store::note_again(&mut transaction, &noted, &locked).await?;
            let unused = store::list_unused(&mut transaction, &locked).await?;
            let step = store::quarantine(&mut transaction, &unused, self.grace.quarantine).await?;
            transaction.commit().await?;
            self.counts.quarantined.add(step);
            total += step;
            if is_last(noted.len()) {
                return Ok(total);
            }
        }
    }

    async fn give_up_expired(&self) -> sqlx::Result<Tally> {
        let mut total = Tally::default();
        loop {
            let mut conn = self.pool.acquire().await?;
            let mut transaction = conn.begin().await?;
            let expired = store::lock_expired(&mut transaction, STEP).await?;
            if expired.is_empty() {
                return Ok(total);
            }
            store::update_used(&mut transaction, &expired).await?;
            let step = store::give_up_expired(&mut transaction, &expired).await?;
            transaction.commit().await?;
            self.counts.given_up.add(step);
            total += step;
            if is_last(expired.len()) {
                return Ok(total);
            }
        }
    }
}

fn is_last(found: usize) -> bool {
    i64::try_from(found).is_ok_and(|found| found < STEP)
}

/// Gives up some blobs of a deleted account, at most `limit`; gives how many. Its DID names their bytes.
pub async fn give_up(conn: &mut PgConnection, account: AccountId, did: &Did, limit: i64) -> sqlx::Result<u64> {
    store::give_up(conn, account, did, limit).await
}
