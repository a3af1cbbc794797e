//! Cleaning up after imports whose replica was killed.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Nobody waits for it: an account's next import cleans up, too.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "import_leftovers",
    period: Duration::from_mins(10),
    limit: Duration::from_mins(5),
    run: |context| run(context).boxed(),
};

/// Safe to run twice: an import that goes on is left alone.
async fn run(context: Context) -> anyhow::Result<Report> {
    let imports = context.import_leftovers.purge().await?;
    Ok(Report { text: format!("cleaned up after {imports} imports"), is_news: imports > 0 })
}
