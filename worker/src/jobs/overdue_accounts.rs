//! Accounts that their owners closed, to be deleted after some time.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Nobody counts the minutes.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "overdue_accounts",
    period: Duration::from_mins(10),
    limit: Duration::from_mins(5),
    run: |context| run(context).boxed(),
};

/// Safe to run twice: an account that was opened again is left alone.
async fn run(context: Context) -> anyhow::Result<Report> {
    let accounts = context.lifecycle.delete_overdue().await?;
    Ok(Report { text: format!("deleted {accounts} accounts whose time was up"), is_news: accounts > 0 })
}
