//! What is left of deleted accounts, should a job have failed, or an account have been deleted without one.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Every minute: the event stream still tells what was deleted.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "deleted_accounts",
    period: Duration::from_mins(1),
    limit: Duration::from_mins(30),
    run: |context| run(context).boxed(),
};

/// Safe to run twice and to drop: each step notes how far it came.
async fn run(context: Context) -> anyhow::Result<Report> {
    let purged = context.deleted_accounts.purge().await?;
    Ok(Report { text: purged.to_string(), is_news: purged.rows > 0 || purged.events > 0 })
}
