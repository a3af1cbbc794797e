//! Blobs that a moderator hides.
//!
//! A hidden blob is one that no record may refer to any more: commits look at the mark under their locks.

mod store;

use atproto::data::Cid;
use atproto::syntax::Did;
use serde_json::json;

use super::Blobs;
use crate::audit::{self, Act, Action, Actor, Subject};

/// What a moderator said of a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobMark {
    /// Why it is hidden; `None` if it is not.
    pub takedown_ref: Option<String>,
}

impl Blobs {
    /// What a moderator said of an account's blob; `None` if there is no such blob.
    pub async fn find_mark(&self, did: &Did, cid: Cid) -> sqlx::Result<Option<BlobMark>> {
        store::find_mark(&mut *self.pool.acquire().await?, did, cid).await
    }

    /// Hides an account's blob under a reference, or shows it again. `reference` has no NUL.
    ///
    /// False if there is no such blob. Then only the audit log knows.
    pub async fn mark(&self, actor: &Actor, did: &Did, cid: Cid, reference: Option<&str>) -> sqlx::Result<bool> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let before = store::update_mark(&mut transaction, did, cid, reference).await?;
        let action = if reference.is_some() { Action::TakeDownBlob } else { Action::RestoreBlob };
        let act = Act {
            before: before.as_ref().map(|mark| json!({ "takedown": mark.takedown_ref })),
            after: before.as_ref().map(|_| json!({ "takedown": reference })),
            ..Act::new(actor.clone(), action, Subject::Blob(did.clone(), cid))
        };
        audit::record(&mut transaction, &act).await?;
        transaction.commit().await?;
        Ok(before.is_some())
    }
}
