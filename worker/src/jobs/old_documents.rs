//! DID documents that are too old to be used, and more of them than there is room for.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Anybody may have this server look a DID up, so what that leaves must go soon.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "old_documents",
    period: Duration::from_mins(5),
    limit: Duration::from_mins(5),
    run: |context| run(context).boxed(),
};

/// Safe to run twice: whoever needs a document that is gone fetches it.
async fn run(context: Context) -> anyhow::Result<Report> {
    let documents = context.lifecycle.forget_documents().await?;
    Ok(Report { text: format!("forgot {documents} DID documents"), is_news: false })
}
