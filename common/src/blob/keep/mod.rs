//! Blobs in quarantine that an operator keeps.

mod store;

use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::Blobs;
use crate::audit::{self, Act, Action, Actor, Subject};

/// A blob that will be given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// The blob.
    pub cid: Cid,
    /// Its size in bytes.
    pub size: u64,
    /// When it is given up, unless a record refers to it by then.
    pub delete_after: DateTime<Utc>,
}

impl Blobs {
    /// A page of an account's blobs that are in quarantine, by rising CID (in its binary form) from after `after`.
    pub async fn list_quarantined(&self, did: &Did, after: Option<Cid>, limit: u16) -> sqlx::Result<Vec<Quarantined>> {
        store::list_quarantined(&mut *self.pool.acquire().await?, did, after, limit).await
    }

    /// Takes a blob out of quarantine, as if it had just been uploaded; false if it is not there.
    pub async fn keep(&self, actor: &Actor, did: &Did, cid: Cid) -> sqlx::Result<bool> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let Some(delete_after) = store::update_kept(&mut transaction, did, cid).await? else { return Ok(false) };
        let act = Act::new(actor.clone(), Action::KeepBlob, Subject::Blob(did.clone(), cid));
        audit::record(&mut transaction, &act.from(json!({ "deleteAfter": delete_after }))).await?;
        transaction.commit().await?;
        Ok(true)
    }
}
