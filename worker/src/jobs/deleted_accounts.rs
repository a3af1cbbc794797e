//! Sees to what is left of deleted accounts, should a job have failed, or an account have been deleted without one.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Every minute: the event stream still tells what was deleted.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "deleted_accounts",
    period: Duration::from_mins(1),
    limit: Duration::from_mins(5),
    run: |context| run(context).boxed(),
};

/// Leaves the work to the job, of which one runs at a time: two would read the log for the same.
async fn run(context: Context) -> anyhow::Result<Report> {
    let is_left = context.deleted_accounts.enqueue_purge().await?;
    let text = if is_left { "enqueued what is left to remove" } else { "nothing is left to remove" };
    Ok(Report { text: text.to_owned(), is_news: false })
}
