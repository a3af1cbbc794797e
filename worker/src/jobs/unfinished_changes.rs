//! What a process that died has left half-done between the PLC directory and Postgres.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Half-done things wait for five minutes anyway: who began them may be at work yet.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "unfinished_changes",
    period: Duration::from_mins(2),
    limit: Duration::from_mins(10),
    run: |context| run(context).boxed(),
};

/// Safe to run twice: whoever comes second finds it done.
async fn run(context: Context) -> anyhow::Result<Report> {
    let sign_ups = context.lifecycle.undo_unfinished().await?;
    let renames = context.lifecycle.finish_handle_changes().await?;
    let reservations = context.lifecycle.forget_reservations().await?;
    let text = format!(
        "undid {sign_ups} sign-ups, finished {renames} changes of handles, forgot {reservations} reserved keys"
    );
    Ok(Report { text, is_news: sign_ups + renames > 0 || reservations > 0 })
}
