//! Blobs that a moderator hides.
//!
//! A hidden blob is one that no record may refer to any more: commits look at the mark under their locks. Nobody can read
//! or upload it. Its bytes are put out of use, where nothing in front of the store shows them; when it is shown again, they
//! are put back.
//!
//! That is a job, [`PlaceObject`], which the mark enqueues in its own transaction: it brings the bytes to where they belong
//! as of then. It may be cut off, be done twice, and be done by two at once; see [`Objects::restore`](super::Objects::restore)
//! for why that loses nothing. An upload that was on its way when its blob was hidden may put the bytes into use once
//! more, so some time later the job is done again. What is found where readers look all the same ([`BlobChecker`](super::BlobChecker))
//! gets another such job.

mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BlobError, Blobs, ObjectId};
use crate::audit::{self, Act, Action, Actor, Subject};
use crate::jobs::{self, Job, Policy};

/// When no upload that was on its way can still come in.
const SECOND_LOOK: Duration = Duration::from_mins(10);

/// What a moderator said of a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobMark {
    /// Why it is hidden; `None` if it is not.
    pub takedown_ref: Option<String>,
}

/// The same, and when that was so.
struct Marked {
    takedown_ref: Option<String>,
    /// By Postgres's clock.
    looked_at: DateTime<Utc>,
}

/// Brings the bytes of a blob to where they belong: into use, or out of it if the blob is taken down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlaceObject {
    /// Whose blob.
    pub did: Did,
    /// Which.
    pub cid: Cid,
    /// Whether this is the second time, for uploads that were on their way at the first.
    #[serde(default)]
    pub again: bool,
}

impl Job for PlaceObject {
    const KIND: &'static str = "place_blob_object";

    /// As long as a store may be away.
    const POLICY: Policy =
        Policy { first_pause: Duration::from_secs(2), longest_pause: Duration::from_mins(10), tries: 200 };

    /// Each second time is one of its own: of two that were one the earlier would count, and be too early for the later mark.
    fn dedupe_key(&self) -> Option<String> {
        let Self { did, cid, again } = self;
        (!again).then(|| format!("{did}/{cid}"))
    }
}

impl Blobs {
    /// What a moderator said of an account's blob; `None` if there is no such blob.
    pub async fn find_mark(&self, did: &Did, cid: Cid) -> sqlx::Result<Option<BlobMark>> {
        let marked = store::find_marked(&mut *self.pool.acquire().await?, did, cid).await?;
        Ok(marked.map(|Marked { takedown_ref, .. }| BlobMark { takedown_ref }))
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
        if before.is_some() {
            let job = PlaceObject { did: did.clone(), cid, again: false };
            jobs::enqueue(&mut transaction, &job).await?;
            jobs::enqueue_in(&mut transaction, &PlaceObject { again: true, ..job }, SECOND_LOOK).await?;
        }
        transaction.commit().await?;
        Ok(before.is_some())
    }

    /// Does what [`PlaceObject`] says. Nothing if there is no such blob: who deletes it deletes its bytes wherever they are.
    pub async fn place_object(&self, did: &Did, cid: Cid) -> Result<(), BlobError> {
        let id = ObjectId { did, cid };
        let find = async || store::find_marked(&mut *self.pool.acquire().await?, did, cid).await;
        let mut marked = find().await?;
        while let Some(Marked { takedown_ref, looked_at }) = marked {
            let is_hidden = takedown_ref.is_some();
            if is_hidden {
                // It may have been out of use before.
                self.objects.quarantine(id, looked_at).await?;
            } else if !self.objects.restore(id).await? {
                tracing::error!(%did, %cid, "the blob store lost a blob");
            }
            // Whoever changed their mind meanwhile has a job as well, which may have come before this.
            marked = find().await?.filter(|now| now.takedown_ref.is_some() != is_hidden);
        }
        Ok(())
    }
}
