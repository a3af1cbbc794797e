//! Telling the network that something about an account's DID has changed.

use std::time::Duration;

use atproto::event::{Event, IdentityEvent};
use atproto::syntax::{Datetime, Did};

use super::store::{self, Submission};
use crate::account::Principal;
use crate::audit::Actor;
use crate::clock::Clock;
use crate::db::{self, PgPool};
use crate::identity::forget_document;

/// How long a change may be on its way: longer than the directory may take, and a replica to stop.
const OVERDUE: Duration = Duration::from_mins(2);
/// How many are announced at a time.
const PAGE: i64 = 100;

/// `#identity` events that change nothing here: whoever hears of one looks the account up again. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Announcements {
    pool: PgPool,
    clock: Clock,
}

impl Announcements {
    /// Announcements in this database's log.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Announces that an account is to be looked up again; gives the event's seq, or `None` if the account is gone.
    ///
    /// `actor` is noted, in the same statement; nobody is if it belongs to something larger that is noted as a whole.
    pub async fn announce(&self, account: &Principal, actor: Option<&Actor>) -> sqlx::Result<Option<i64>> {
        let body = event(&account.did, &self.clock);
        store::announce(&mut *self.pool.acquire().await?, account, &body, actor).await
    }

    /// Announces the changes of which nobody was told, because the replica that made them died or heard no answer, and
    /// forgets the documents from before; gives their number.
    ///
    /// Whether the directory took a change is not asked: who hears of it looks for themselves. Safe to call at any time,
    /// from anywhere: each is announced once. One that cannot be announced is left to the next call and holds up no other.
    pub async fn announce_overdue(&self) -> sqlx::Result<u64> {
        let (mut announced, mut after) = (0, 0);
        loop {
            let overdue = store::list_submissions(&mut *self.pool.acquire().await?, OVERDUE, (after, PAGE)).await?;
            let Some(last) = overdue.last().map(|change| change.id) else { return Ok(announced) };
            for change in overdue {
                match self.announce_change(&change).await {
                    Ok(seq) => announced += u64::from(seq.is_some()),
                    Err(error) if db::is_outage(&error) => return Err(error),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(did = %change.did, error, "a change of a DID stays unannounced for now");
                    }
                }
            }
            after = last;
        }
    }

    /// Gives the event's seq, or `None` if somebody else came first or the account is going.
    async fn announce_change(&self, change: &Submission) -> sqlx::Result<Option<i64>> {
        let conn = &mut *self.pool.acquire().await?;
        forget_document(conn, &change.did).await?;
        let body = event(&change.did, &self.clock);
        store::announce_submission(conn, (change.id, change.account), &body).await
    }
}

/// The body of such an event.
pub(super) fn event(did: &Did, clock: &Clock) -> Vec<u8> {
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or_default();
    // Reference: without the handle, which readers find in the document.
    Event::Identity(IdentityEvent { did: did.clone(), handle: None, time: Datetime::from_unix_millis(millis) }).encode()
}
