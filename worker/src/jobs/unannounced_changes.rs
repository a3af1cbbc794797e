//! Announcing changes of DIDs whose replica died before it could.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Relays wait for it: they hold an account's old document until then.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "unannounced_changes",
    period: Duration::from_mins(1),
    limit: Duration::from_mins(5),
    run: |context| run(context).boxed(),
};

/// Safe to run twice: each change is announced once.
async fn run(context: Context) -> anyhow::Result<Report> {
    let announced = context.announcements.announce_overdue().await?;
    Ok(Report { text: format!("announced {announced} changes of DIDs"), is_news: announced > 0 })
}
