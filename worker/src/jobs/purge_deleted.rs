//! What is left of an account that was deleted just now.

use std::time::Duration;

use common::lifecycle::PurgeDeleted;
use tracing::info;

use crate::runner::{Context, JobError, Run};

impl Run for PurgeDeleted {
    /// As the schedule that does the same.
    const LIMIT: Duration = Duration::from_mins(30);

    /// Each step notes how far it came.
    async fn run(&self, context: &Context) -> Result<(), JobError> {
        let purged = context.deleted_accounts.purge().await.map_err(JobError::retry)?;
        info!("{purged}");
        Ok(())
    }
}
