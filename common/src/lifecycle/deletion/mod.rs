//! Deleting accounts, for good.
//!
//! Owns `account_deletion`. [`Lifecycle::delete`] is one short statement, `account_delete_v3`: the account, its repo, its
//! key and its sessions are gone for everybody, the stream is told, and a row remains that says what is left to remove.
//! The rest goes later, in steps of some milliseconds ([`DeletedAccounts::purge`]), which a worker begins at once, because the
//! statement enqueues the job [`PurgeDeleted`]; another is enqueued every minute while anything is left:
//!
//! * the rows of its records, tree and references. Nothing reads them: they hang on the account's number, which is
//!   never given again, also not to an account with the same DID.
//! * its older events, because the log must not go on telling what was deleted. They lie anywhere between the others,
//!   and no index knows whose an event is, since every write would pay for it; so a pass reads the whole log once, for
//!   all deleted accounts together. That takes some 10 ms for 5,000 events.
//!
//! * the rows of its blobs. The DID in `account_deletion` names their bytes, which `common::blob` deletes later.
//!
//! Each step notes in `account_deletion` how far it came, so a worker that is killed loses the step it was at.

mod job;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;

use atproto::event::{AccountEvent, AccountStatus};
use atproto::syntax::Did;
use chrono::{DateTime, Utc};

pub use job::PurgeDeleted;

use super::{Lifecycle, Workflows};
use crate::audit::Actor;
use crate::blob;
use crate::db::{AccountId, PgPool};
use crate::jobs;

/// Some 10 ms each.
const STEPS: Steps = Steps { rows: 2_000, events: 5_000 };
/// Accounts whose events one pass looks for.
const ACCOUNTS: i64 = 1_000;
/// Accounts that a run deletes because their time is up.
const OVERDUE: i64 = 500;

impl Lifecycle {
    /// Deletes an account, at once for everybody; false if there is none. The PLC directory keeps its DID.
    ///
    /// `actor` is the operator who does it, and is noted; `None` if it is the account's owner.
    pub async fn delete(&self, did: &Did, actor: Option<&Actor>) -> sqlx::Result<bool> {
        let services = &self.0.services;
        let event = self.0.deletion(did);
        let deleted = store::delete_account(&mut *services.pool.acquire().await?, did, &event, actor).await?;
        services.accounts.forget(did).await;
        Ok(deleted)
    }

    /// Deletes the accounts that their owners closed and whose `delete_after` has come; gives how many.
    ///
    /// Not those that have been closed for less than a day, whatever was asked for, and not those that are taken down:
    /// moderators may not be done with them.
    pub async fn delete_overdue(&self) -> sqlx::Result<usize> {
        let now = self.0.services.clock.now();
        let overdue = store::list_overdue(&mut *self.0.services.pool.acquire().await?, now, OVERDUE).await?;
        let mut deleted = 0;
        for did in overdue {
            match self.0.delete_if_overdue(&did, now).await {
                Ok(is_gone) => deleted += usize::from(is_gone),
                // The others need not wait for it.
                Err(error) => tracing::warn!(%did, %error, "an account stays though its time is up"),
            }
        }
        Ok(deleted)
    }
}

impl Workflows {
    async fn delete_if_overdue(&self, did: &Did, now: DateTime<Utc>) -> sqlx::Result<bool> {
        let event = self.deletion(did);
        let deleted = store::delete_overdue(&mut *self.services.pool.acquire().await?, did, &event, now).await?;
        self.services.accounts.forget(did).await;
        Ok(deleted)
    }

    /// Body of the event that tells of a deletion.
    fn deletion(&self, did: &Did) -> Vec<u8> {
        AccountEvent { did: did.clone(), status: AccountStatus::Deleted, time: self.event_time() }.encode()
    }
}

/// What is left of deleted accounts.
#[derive(Clone, Debug)]
pub struct DeletedAccounts {
    pool: PgPool,
    steps: Steps,
}

/// How much one statement removes.
#[derive(Clone, Copy, Debug)]
struct Steps {
    /// Rows of a table.
    rows: i32,
    /// Events that are looked at.
    events: i64,
}

/// What a run removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Rows of repos.
    pub rows: i64,
    /// Events.
    pub events: i64,
}

impl Purged {
    /// True if there was nothing to remove.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "removed {} rows and {} events of deleted accounts", self.rows, self.events)
    }
}

impl DeletedAccounts {
    /// Those in `pool`'s database.
    pub fn new(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), steps: STEPS }
    }

    /// Removes what is left but for bytes of blobs, in small steps. Safe to run at any time, also twice at once, and to drop.
    pub async fn purge(&self) -> sqlx::Result<Purged> {
        let rows = self.purge_rows().await? + self.purge_blobs().await?;
        let events = self.purge_events().await?;
        store::delete_finished(&mut *self.pool.acquire().await?).await?;
        Ok(Purged { rows, events })
    }

    /// Has a worker do this, if anything is left; whether it is.
    pub async fn enqueue_purge(&self) -> sqlx::Result<bool> {
        let mut conn = self.pool.acquire().await?;
        let is_left = store::is_anything_left(&mut conn).await?;
        if is_left {
            jobs::enqueue(&mut conn, &PurgeDeleted {}).await?;
        }
        Ok(is_left)
    }

    async fn purge_rows(&self) -> sqlx::Result<i64> {
        let mut rows = 0;
        let mut last = AccountId::new(0);
        loop {
            // Not in the condition of the loop: the connection would be held all through it.
            let next = store::find_with_rows(&mut *self.pool.acquire().await?, last).await?;
            let Some(account) = next else { return Ok(rows) };
            loop {
                let step = store::purge_rows(&mut *self.pool.acquire().await?, account, self.steps.rows).await?;
                rows += step;
                if step == 0 {
                    break;
                }
            }
            last = account;
        }
    }

    async fn purge_blobs(&self) -> sqlx::Result<i64> {
        let mut rows = 0;
        loop {
            let next = store::find_with_blobs(&mut *self.pool.acquire().await?).await?;
            let Some((account, did)) = next else { return Ok(rows) };
            let limit = i64::from(self.steps.rows);
            let step = blob::give_up(&mut *self.pool.acquire().await?, account, &did, limit).await?;
            if step == 0 {
                // Somebody else was faster.
                return Ok(rows);
            }
            rows += i64::try_from(step).unwrap_or(i64::MAX);
        }
    }

    /// One pass over the log. An account that is deleted meanwhile is left to the next one.
    async fn purge_events(&self) -> sqlx::Result<i64> {
        let accounts = store::list_with_events(&mut *self.pool.acquire().await?, ACCOUNTS).await?;
        if accounts.is_empty() {
            return Ok(0);
        }
        // Looked at after the accounts: whatever they have in the log is below its end.
        let span = store::find_span(&mut *self.pool.acquire().await?, &accounts).await?;
        let (mut from, mut events) = (span.start, 0);
        while from < span.end {
            let to = (from + self.steps.events).min(span.end);
            events += store::purge_events(&mut *self.pool.acquire().await?, &accounts, from..to).await?;
            from = to;
        }
        store::update_events_gone(&mut *self.pool.acquire().await?, &accounts, span.end).await?;
        Ok(events)
    }
}

/// Numbers of accounts, as Postgres takes a list of them.
fn numbers(accounts: &[AccountId]) -> Vec<i64> {
    accounts.iter().map(|account| account.get()).collect()
}
