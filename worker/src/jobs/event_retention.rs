//! Room for new events in the log, and no events that nobody can ask for any more.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Every minute: a busy server needs partitions soon.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "event_retention",
    period: Duration::from_mins(1),
    limit: Duration::from_mins(10),
    run: |context| run(context).boxed(),
};

/// Safe to run twice or late: it looks at what is there.
async fn run(context: Context) -> anyhow::Result<Report> {
    let window = context.config.subscription.backfill_limit;
    let done = context.sequencer.retain(context.clock.now(), window).await?;
    Ok(Report { text: done.to_string(), is_news: done.is_news() })
}
