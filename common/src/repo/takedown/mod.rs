//! Records that a moderator hides.
//!
//! A hidden record is not shown by the methods that read single records. It stays in its repo, in archives and in the event
//! stream, since without it no tree could be verified; and it stays hidden when its owner writes it again.

mod store;

use atproto::data::Cid;
use atproto::syntax::{AtUri, Did};
use serde_json::json;

use super::{RecordPath, Repos};
use crate::audit::{self, Act, Action, Actor, Subject};

/// What a moderator said of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordMark {
    /// The record's version.
    pub cid: Cid,
    /// Why it is hidden; `None` if it is not.
    pub takedown_ref: Option<String>,
}

impl Repos {
    /// What a moderator said of a record; `None` if there is no such record, in whatever state its account is.
    pub async fn find_mark(&self, did: &Did, path: &RecordPath) -> sqlx::Result<Option<RecordMark>> {
        store::find_mark(&mut *self.pool.acquire().await?, did, path).await
    }

    /// Hides a record under a reference, or shows it again. `reference` has no NUL.
    ///
    /// False if there is no such record: its owner may have deleted it meanwhile. Then only the audit log knows.
    pub async fn mark_record(
        &self,
        actor: &Actor,
        did: &Did,
        path: &RecordPath,
        reference: Option<&str>,
    ) -> sqlx::Result<bool> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        // First, as everywhere: a commit that waited for the record instead would hold up all commits beside it.
        let account = store::lock_repo(&mut transaction, did).await?;
        let before = match account {
            Some(account) => store::update_mark(&mut transaction, account, path, reference).await?,
            None => None,
        };
        let action = if reference.is_some() { Action::TakeDownRecord } else { Action::RestoreRecord };
        let subject = Subject::Record(AtUri::record(did, &path.collection, &path.rkey));
        let act = Act {
            before: before.as_ref().map(|mark| json!({ "takedown": mark.takedown_ref, "cid": mark.cid })),
            after: before.as_ref().map(|_| json!({ "takedown": reference })),
            ..Act::new(actor.clone(), action, subject)
        };
        audit::record(&mut transaction, &act).await?;
        transaction.commit().await?;
        Ok(before.is_some())
    }
}
