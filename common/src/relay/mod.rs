//! Relays: what each was told, and what it knew of this server when it was last asked.
//!
//! Owns `crawl_notice` and `relay_check`, with a row for each relay in both. Only state: the calls are a worker's.
//!
//! # Notices
//!
//! A relay keeps a connection to the event stream. When it has lost it, it comes back once it is told that there is
//! something to read (`requestCrawl`). It is due to be told ([`Relays::list_due`]) if
//!
//! * the log has grown since it was last told, or a worker has started: who knows what the relay missed meanwhile;
//! * and the interval since it was last told is over, or the pause after it did not accept.
//!
//! An empty log is nothing to tell. Commits pay nothing for this: the log's head is compared with what was told, every few
//! seconds. Whoever is about to tell a relay claims that first ([`Relays::claim`]), for the whole interval. So all workers
//! together never tell it more often, whatever becomes of them in between; only the command ([`Relays::claim_now`]) does.
//!
//! A start is no exception to the interval. One telling does for all workers that had started when it was claimed: however
//! many restart within an interval, in a row or at once, the relay is told once, and a second time after the interval if
//! some of them started after that claim. A process that loses its lease and enters itself anew has not started.
//!
//! What comes of a telling is noted under the number of its claim, and only as long as that is the last one: a worker that
//! was stopped for an hour says nothing of what another did since. An outcome that nobody could note counts as none, so the
//! relay is told again after the interval.
//!
//! A relay that does not accept is left alone for a minute, then for longer and longer ([`PAUSES`]). After
//! [`BREAKER_FAILURES`] in a row it is asked once an hour, until it accepts. What one relay does is nothing to the others.
//!
//! # Checks
//!
//! A [`Check`] is what a relay said of this server, held against what is so. [`Check::warnings`] says what of it an
//! operator should look at.

mod check;
mod notice;
mod store;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

pub use check::{
    ACCOUNT_LIMIT_SHARE, Check, Difference, Example, HostStatus, LAG_LIMIT, MAX_EXAMPLES, Survey, Warning,
};
pub use notice::{BREAKER_FAILURES, Claim, Notice, PAUSES};

use crate::db::PgPool;
use crate::jobs::{Job, Policy, enqueue};

/// A relay that the operator named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// Its origin, as `https://relay.example`, which stands for it everywhere. Without credentials, should the URL have any.
    pub name: String,
    /// Where to ask it.
    pub url: Url,
}

impl Relay {
    /// The relay at a URL, of which nothing but the origin counts.
    pub fn new(url: Url) -> Self {
        Self { name: url.origin().ascii_serialization(), url }
    }

    /// The relays at these URLs, each once.
    pub fn all(urls: &[Url]) -> Vec<Self> {
        let mut relays: Vec<Self> = Vec::new();
        for relay in urls.iter().cloned().map(Self::new) {
            if !relays.iter().any(|known| known.name == relay.name) {
                relays.push(relay);
            }
        }
        relays
    }
}

/// Tells a relay that there is something to read, if that is still due when it is done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TellRelay {
    /// The relay's origin. One that is not among the settings any more is not told.
    pub relay: String,
}

impl Job for TellRelay {
    const KIND: &'static str = "tell_relay";

    /// For Postgres; a relay that does not accept has pauses of its own, and is no failure of the job.
    const POLICY: Policy =
        Policy { first_pause: Duration::from_secs(10), longest_pause: Duration::from_mins(1), tries: 5 };

    /// One at a time, and one that waits stands for all.
    fn dedupe_key(&self) -> Option<String> {
        Some(self.relay.clone())
    }
}

/// What relays were told, and what they said.
#[derive(Clone, Debug)]
pub struct Relays {
    pool: PgPool,
}

impl Relays {
    /// Those in this database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Which of these relays, by name, are due to be told.
    pub async fn list_due(&self, names: &[&str]) -> sqlx::Result<Vec<String>> {
        let mut conn = self.pool.acquire().await?;
        store::insert_notices(&mut conn, names).await?;
        store::list_due(&mut conn, names).await
    }

    /// Has each of these relays told that is due to be; gives how many.
    pub async fn enqueue_due(&self, names: &[&str]) -> sqlx::Result<usize> {
        let due = self.list_due(names).await?;
        let mut conn = self.pool.acquire().await?;
        for relay in &due {
            enqueue(&mut conn, &TellRelay { relay: relay.clone() }).await?;
        }
        Ok(due.len())
    }

    /// Takes it upon the caller to tell a relay, however long ago that was done, and lets nobody else do so for `interval`.
    pub async fn claim_now(&self, name: &str, interval: Duration) -> sqlx::Result<Claim> {
        store::claim_now(&mut *self.pool.acquire().await?, name, interval).await
    }

    /// Takes it upon the caller to tell a relay, and leaves it alone for `interval`; `None` if it is not due, or not yet.
    pub async fn claim(&self, name: &str, interval: Duration) -> sqlx::Result<Option<Claim>> {
        store::claim(&mut *self.pool.acquire().await?, name, interval).await
    }

    /// Notes that a relay, told under this claim, accepted. It is told again after `interval` at the earliest. False, and
    /// nothing noted, if it has been claimed again since.
    pub async fn note_told(&self, name: &str, claim: Claim, interval: Duration) -> sqlx::Result<bool> {
        store::update_told(&mut *self.pool.acquire().await?, name, claim, interval).await
    }

    /// Notes that a relay, told under this claim, did not accept, and why; gives the pause after which it is asked again, or
    /// `None`, and notes nothing, if it has been claimed again since. `chance` is any number from 0 to 1.
    pub async fn note_failed(
        &self,
        name: &str,
        claim: Claim,
        reason: &str,
        chance: f64,
    ) -> sqlx::Result<Option<Duration>> {
        let pause = claim.pause(chance);
        let is_noted = store::update_failed(&mut *self.pool.acquire().await?, name, claim, (reason, pause)).await?;
        Ok(is_noted.then_some(pause))
    }

    /// What these relays were told, in no particular order; those that never were due are left out.
    pub async fn list_notices(&self, names: &[&str]) -> sqlx::Result<Vec<Notice>> {
        store::list_notices(&mut *self.pool.acquire().await?, names).await
    }

    /// Keeps a check in the place of the last one of the same relay.
    pub async fn note_check(&self, check: &Check) -> sqlx::Result<()> {
        let report = serde_json::to_value(check).map_err(|error| sqlx::Error::Encode(error.into()))?;
        store::upsert_check(&mut *self.pool.acquire().await?, &check.relay, &report, check.checked_at).await
    }

    /// The last checks of these relays, in no particular order. One that another release wrote, and that this one cannot
    /// read, is left out.
    pub async fn list_checks(&self, names: &[&str]) -> sqlx::Result<Vec<Check>> {
        let reports = store::list_checks(&mut *self.pool.acquire().await?, names).await?;
        Ok(reports.into_iter().filter_map(|report| serde_json::from_value(report).ok()).collect())
    }
}
