//! Blobs that nobody noted when they lost their last reference.
//!
//! A trigger notes whoever loses a reference (`blob_dereference`), so that collection need not look at all blobs. Blobs
//! that lost theirs before there was the trigger were never noted, nor are those that an operator's hand or a bug lets go past
//! it. So each run goes through some more of all blobs, from where the last one came to (`blob_sweep`), and notes those that it
//! finds; behind the last it begins anew. From its note on such a blob has the same time as any other.

mod store;
#[cfg(test)]
mod tests;

use super::Collector;

/// Blobs that one run looks at: of a million all within three and a half days, for some 10 ms a run.
const PAGE: i64 = 2_000;

impl Collector {
    /// Looks at some more blobs; does nothing if somebody else is at it.
    pub(super) async fn sweep(&self) -> sqlx::Result<()> {
        self.sweep_page(PAGE).await.map(drop)
    }

    /// Gives how many it noted.
    async fn sweep_page(&self, limit: i64) -> sqlx::Result<i64> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let Some(place) = store::lock_place(&mut transaction).await? else { return Ok(0) };
        let noted = store::note_unused(&mut transaction, &place, limit).await?;
        transaction.commit().await?;
        if noted > 0 {
            tracing::info!(noted, "found blobs that lost their last reference without a note");
        }
        Ok(noted)
    }
}
