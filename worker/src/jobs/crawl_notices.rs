//! Which relays are to be told of new events.

use std::time::Duration;

use common::relay::Relay;
use futures_util::FutureExt as _;

use crate::runner::{Context, Report, Schedule};

/// Every ten seconds: news reach a relay that has lost its connection so soon. It is one look at the log's head.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "crawl_notices",
    period: Duration::from_secs(10),
    limit: Duration::from_mins(1),
    run: |context| run(context).boxed(),
};

/// Safe to run twice: of one relay one job waits at most, and it looks whether the relay is still to be told. A job for
/// each, so that none waits for another that does not answer.
async fn run(context: Context) -> anyhow::Result<Report> {
    let relays = Relay::all(&context.config.upstreams.crawlers);
    let names: Vec<&str> = relays.iter().map(|relay| relay.name.as_str()).collect();
    let due = if names.is_empty() { 0 } else { context.relays.enqueue_due(&names).await? };
    Ok(Report { text: format!("{due} relays are to be told"), is_news: false })
}
