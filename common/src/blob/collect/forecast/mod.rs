//! What collection would do.

mod store;

use serde::Serialize;

use super::Collector;
use super::report::Tally;

/// What a run would find, as of now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Uploads that no record came to refer to in time.
    pub unreferenced: Tally,
    /// Blobs that lost their last reference long enough ago.
    pub dereferenced: Tally,
    /// All that is in quarantine, what is to be given up included. Some of it may be referred to again.
    pub quarantined: Tally,
    /// What has been in quarantine for long enough, and is not referred to.
    pub expired: Tally,
    /// Blobs given up whose bytes are still there.
    pub objects: u64,
}

impl Collector {
    /// What a run would do now.
    pub async fn forecast(&self) -> sqlx::Result<Forecast> {
        store::find(&mut *self.pool.acquire().await?, &self.grace).await
    }
}
