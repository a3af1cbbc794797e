//! The audit log: every act of an operator or moderator, who did it, to what, when, and what changed.
//!
//! Owns `audit_log`, which nobody can change or cut (a trigger refuses; only the table's owner could drop that). No entry
//! holds a secret. E-mail addresses it does hold: without them nobody could say what an operator changed.
//!
//! An act within one transaction is [`record`]ed in that transaction, or by the SQL function `audit_record_v1` in the one
//! statement that it is: there is never one without the other. An act that reaches outside of the database, to the PLC
//! directory, is [witnessed](AuditLog::witness): one entry says that it begins, before it does, and another how it ended. A
//! `begun` entry without an end names an act that a crash cut short.

mod act;
mod store;

use std::fmt::Display;
use std::future::Future;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use crate::db::PgPool;
pub use act::{Act, Action, Actor, ActorError, Subject};

/// An entry, as it is read.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its number; later entries have higher ones.
    pub id: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Who: see [`Actor`].
    pub actor: String,
    /// What was done, such as `account.takedown`.
    pub action: String,
    /// To what: see [`Subject`].
    pub subject: String,
    /// The account concerned, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did: Option<String>,
    /// `done`, or `begun`, or `failed`.
    pub outcome: String,
    /// The number of the entry that said that it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun_id: Option<i64>,
    /// How it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// How it is, or was to become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which entries to list. Those that are `None` do not restrict.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    /// A DID: everything that concerns this account. Anything else: exactly this subject.
    pub subject: Option<String>,
    /// By this actor.
    pub actor: Option<String>,
    /// Since then.
    pub since: Option<DateTime<Utc>>,
    /// Before the entry with this number: the next page.
    pub before: Option<i64>,
}

/// Adds the entry of an act that is done once this transaction commits.
pub async fn record(conn: &mut PgConnection, act: &Act) -> sqlx::Result<()> {
    store::insert(conn, act, store::DONE).await.map(drop)
}

/// The log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    pool: PgPool,
}

impl AuditLog {
    /// The log in `pool`'s database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Adds the entry of an act that is done and left nothing else in the database.
    pub async fn record(&self, act: &Act) -> sqlx::Result<()> {
        record(&mut *self.pool.acquire().await?, act).await
    }

    /// Does `work`, with an entry before and an entry after it. Without the first it is not done.
    ///
    /// Work that was done stays done if the second cannot be written; that is logged as an error.
    pub async fn witness<T, E>(&self, act: &Act, work: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<sqlx::Error> + Display,
    {
        let begun = store::insert(&mut *self.pool.acquire().await?, act, store::BEGUN).await?;
        let result = work.await;
        let reason = result.as_ref().err().map(ToString::to_string);
        if let Err(error) = self.end(begun, reason.as_deref()).await {
            tracing::error!(begun, action = act.action.name(), %error, "an act is not in the audit log as ended");
        }
        result
    }

    async fn end(&self, begun: i64, reason: Option<&str>) -> sqlx::Result<()> {
        store::insert_end(&mut *self.pool.acquire().await?, begun, reason).await
    }

    /// A page of entries, the newest first.
    pub async fn list(&self, filter: &Filter, limit: u16) -> sqlx::Result<Vec<Entry>> {
        // Text in Postgres has no NUL, so nobody's name does.
        if [&filter.subject, &filter.actor].into_iter().flatten().any(|text| text.contains('\0')) {
            return Ok(Vec::new());
        }
        let mut page = store::list(&mut *self.pool.acquire().await?, filter, i64::from(limit)).await?;
        // Not asked of Postgres, which would look through all that is older before it gave up.
        if let Some(since) = filter.since {
            page.retain(|entry| entry.at >= since);
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
