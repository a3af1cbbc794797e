//! What is left of deleted accounts.

use std::time::Duration;

use common::lifecycle::PurgeDeleted;
use tracing::info;

use crate::runner::{Context, JobError, Run};

impl Run for PurgeDeleted {
    /// A log of many millions of events is read.
    const LIMIT: Duration = Duration::from_mins(30);

    /// Each step notes how far it came.
    async fn run(&self, context: &Context) -> Result<(), JobError> {
        let purged = context.deleted_accounts.purge().await.map_err(JobError::retry)?;
        if !purged.is_empty() {
            info!("{purged}");
        }
        Ok(())
    }
}
