//! How many blobs an account may have.
//!
//! Everything counts that it uploaded and that is not deleted yet, whether a record refers to it or not. What it may have is
//! what the settings say, unless an operator said otherwise of this account (`blob_quota`).
//!
//! `blob_usage` is kept by triggers of `blob`, whoever adds or deletes rows there. An upload takes its place when its size is
//! known and before its bytes are stored (`blob_reservation`), one of the account after the other: so two at once do not
//! both get the last place, and of the one that does not nothing is stored that would be in its way the next time. Its row
//! takes the reservation's part. Should that have run out by then, the upload is checked again once its row has been added
//! and counted.

mod store;
#[cfg(test)]
mod tests;

use atproto::data::Cid;
use atproto::syntax::Did;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::StoredBlob;
use crate::audit::{self, Act, Action, Actor, Subject};
use crate::config::BlobQuota;
use crate::db::{AccountId, PgPool};

/// What an account has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct BlobUsage {
    /// Bytes of all its blobs.
    pub bytes: u64,
    /// Their number.
    pub count: u64,
}

/// A blob would be one too many, or too large to fit in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuotaExceeded {
    /// Too many bytes.
    #[error("Storage quota exceeded: {used} of {limit} bytes are in use")]
    Bytes {
        /// What the account has.
        used: u64,
        /// What it may have.
        limit: u64,
    },
    /// Too many blobs.
    #[error("Storage quota exceeded: {used} of {limit} blobs are there")]
    Count {
        /// What the account has.
        used: u64,
        /// What it may have.
        limit: u64,
    },
}

/// The quotas of all accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobQuotas {
    pool: PgPool,
    default: BlobQuota,
}

impl BlobQuotas {
    /// The quotas in `pool`'s database; `default` is for accounts that have none of their own.
    pub fn new(pool: PgPool, default: BlobQuota) -> Self {
        Self { pool, default }
    }

    /// What an account has.
    pub async fn usage(&self, account: AccountId) -> sqlx::Result<BlobUsage> {
        store::find_usage(&mut *self.pool.acquire().await?, account).await
    }

    /// What an account may have.
    pub async fn find(&self, account: AccountId) -> sqlx::Result<BlobQuota> {
        let own = store::find(&mut *self.pool.acquire().await?, account).await?;
        Ok(own.unwrap_or(self.default))
    }

    /// Gives an account a quota of its own, or with `None` that of the settings. False if there is no such account.
    pub async fn set(&self, actor: &Actor, did: &Did, quota: Option<BlobQuota>) -> sqlx::Result<bool> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let Some((account, before)) = store::lock_account(&mut transaction, did).await? else { return Ok(false) };
        match quota {
            Some(quota) => store::upsert(&mut transaction, account, quota).await?,
            None => store::delete(&mut transaction, account).await?,
        }
        let act = Act::new(actor.clone(), Action::SetBlobQuota, Subject::Account(did.clone()));
        let act = act.from(describe(before)).to(describe(quota));
        audit::record(&mut transaction, &act).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// What applies to an account with, or without, one of its own.
    pub(super) fn effective(&self, own: Option<BlobQuota>) -> BlobQuota {
        own.unwrap_or(self.default)
    }
}

fn describe(quota: Option<BlobQuota>) -> Value {
    quota.map_or(Value::Null, |BlobQuota { bytes, count }| json!({ "bytes": bytes, "count": count }))
}

/// Takes a place for a blob in what an account may have, if it fits in. One that is there already does, and needs none.
pub(super) async fn reserve(
    conn: &mut PgConnection,
    account: AccountId,
    quota: BlobQuota,
    blob: &StoredBlob,
) -> sqlx::Result<Result<(), QuotaExceeded>> {
    // Looked at in statements after the lock, by one at a time.
    store::lock_usage(conn, account).await?;
    if store::has_blob(conn, account, blob.cid).await? {
        return Ok(Ok(()));
    }
    let fits = fits(store::find_promised(conn, account, blob.cid).await?, quota, blob.size);
    if fits.is_ok() {
        store::upsert_reservation(conn, account, blob).await?;
    }
    Ok(fits)
}

/// Gives a blob's place back: its row has it, or nothing will.
pub(super) async fn release(conn: &mut PgConnection, account: AccountId, cid: Cid) -> sqlx::Result<()> {
    store::delete_reservation(conn, account, cid).await
}

/// Whether a blob fits in whose row this transaction has added. The account's others wait for it at its usage.
pub(super) async fn check_again(
    conn: &mut PgConnection,
    account: AccountId,
    quota: BlobQuota,
    blob: &StoredBlob,
) -> sqlx::Result<Result<(), QuotaExceeded>> {
    let BlobUsage { bytes, count } = store::find_usage(conn, account).await?;
    let before = BlobUsage { bytes: bytes.saturating_sub(blob.size), count: count.saturating_sub(1) };
    Ok(fits(before, quota, blob.size))
}

fn fits(usage: BlobUsage, quota: BlobQuota, size: u64) -> Result<(), QuotaExceeded> {
    if let Some(limit) = quota.count.filter(|limit| usage.count >= *limit) {
        return Err(QuotaExceeded::Count { used: usage.count, limit });
    }
    if let Some(limit) = quota.bytes.filter(|limit| usage.bytes.saturating_add(size) > *limit) {
        return Err(QuotaExceeded::Bytes { used: usage.bytes, limit });
    }
    Ok(())
}
