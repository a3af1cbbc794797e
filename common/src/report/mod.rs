//! What users report to moderators: `com.atproto.moderation.createReport`.
//!
//! Owns `report`. A report is stored, and that is all so far: forwarding to a moderation service is not there yet, so
//! operators read the table.

mod store;

use atproto::data::Cid;
use atproto::syntax::{AtUri, Did};
use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::db::PgPool;

/// What is reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReportSubject {
    /// An account, of whatever server.
    Account(Did),
    /// A version of a record.
    Record {
        /// Whose it is.
        did: Did,
        /// Its address.
        uri: AtUri,
        /// The version.
        cid: Cid,
    },
}

/// A report to be stored. The texts have no NUL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewReport {
    /// Who reports.
    pub reported_by: Did,
    /// Why, as a token of some lexicon.
    pub reason_type: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// What.
    pub subject: ReportSubject,
    /// What the client says of itself, as JSON.
    pub mod_tool: Option<String>,
}

/// A report that was stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredReport {
    /// Its number.
    pub id: i64,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// The reports of this server's users.
#[derive(Clone, Debug)]
pub struct Reports {
    pool: PgPool,
    clock: Clock,
}

impl Reports {
    /// Keeps reports in `pool`'s database.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Stores a report.
    pub async fn create(&self, report: &NewReport) -> sqlx::Result<StoredReport> {
        let created_at = self.clock.now();
        let id = store::insert(&mut *self.pool.acquire().await?, report, created_at).await?;
        Ok(StoredReport { id, created_at })
    }
}
