//! Bytes of blobs that were given up.

mod store;

use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{CollectError, Collector};
use crate::blob::ObjectId;

/// Objects that are read from the list at a time.
const PAGE: i64 = 1_000;
/// Objects that are being deleted at a time: a request each, most of whose time is the way.
const AT_ONCE: usize = 16;
/// How long a run may go on. What it read is good for [`OBEYED`](crate::blob::object::OBEYED).
const PATIENCE: Duration = Duration::from_mins(3);
/// After so many failures in a page the store is left alone until the next run.
const FAILURES: u64 = 20;

/// A blob whose bytes are to go.
struct Doomed {
    did: Did,
    cid: Cid,
    /// When it was given up.
    created_at: DateTime<Utc>,
    /// When Postgres said so, by its clock.
    looked_at: DateTime<Utc>,
}

impl Collector {
    /// Forgets deletions that are done for good: nobody who looked before can delete the bytes any more.
    pub(super) async fn forget_deletions(&self) -> sqlx::Result<()> {
        store::delete_done(&mut *self.pool.acquire().await?).await
    }

    /// Deletes what is due, page by page; gives how many.
    pub(super) async fn delete_objects(&self) -> Result<u64, CollectError> {
        let started = Instant::now();
        store::delete_revived(&mut *self.pool.acquire().await?).await?;
        let mut deleted = 0;
        loop {
            let doomed = store::list_doomed(&mut *self.pool.acquire().await?, PAGE).await?;
            let is_last = i64::try_from(doomed.len()).is_ok_and(|found| found < PAGE);
            deleted += self.delete_page(doomed, started).await?;
            if is_last || started.elapsed() > PATIENCE {
                return Ok(deleted);
            }
        }
    }

    async fn delete_page(&self, doomed: Vec<Doomed>, started: Instant) -> Result<u64, CollectError> {
        let (mut deleted, mut failed, mut last) = (0, 0, None);
        let requests = stream::iter(doomed).map(|blob| async move {
            // The store would refuse what comes to the front of the queue too late.
            if started.elapsed() > PATIENCE {
                return Ok(false);
            }
            self.delete_object(&blob).await.map(|()| true)
        });
        let mut outcomes = requests.buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(is_gone) => deleted += u64::from(is_gone),
                Err(CollectError::Store { source, .. }) => {
                    failed += 1;
                    last = Some(source);
                }
                Err(error) => return Err(error),
            }
            if failed >= FAILURES {
                break;
            }
        }
        self.counts.objects.add(deleted);
        self.counts.failed.add(failed);
        match last {
            None => Ok(deleted),
            Some(source) => Err(CollectError::Store { failed, source }),
        }
    }

    async fn delete_object(&self, blob: &Doomed) -> Result<(), CollectError> {
        let id = ObjectId { did: &blob.did, cid: blob.cid };
        if let Err(source) = self.objects.delete(id, blob.looked_at).await {
            store::postpone(&mut *self.pool.acquire().await?, blob).await?;
            return Err(CollectError::Store { failed: 1, source });
        }
        Ok(store::update_deleted(&mut *self.pool.acquire().await?, blob).await?)
    }
}
