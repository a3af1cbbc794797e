//! Blobs that nobody will need.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Nobody waits for it: what it removes cannot be read.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "unused_blobs",
    period: Duration::from_mins(10),
    limit: Duration::from_mins(5),
    run: |context| run(context).boxed(),
};

/// Safe to run twice and to drop: each step stands by itself.
async fn run(context: Context) -> anyhow::Result<Report> {
    let collected = context.blob_collector.collect().await?;
    Ok(Report { text: collected.to_string(), is_news: !collected.is_empty() })
}
