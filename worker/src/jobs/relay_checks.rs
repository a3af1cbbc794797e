//! Asking relays what they know of this server.

use std::time::Duration;

use anyhow::Context as _;
use common::relay::{Check, Relay};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tracing::{info, warn};

use crate::relay::{Checker, Plan, SECOND_LOOK, Whose};
use crate::runner::{Context, Report, Schedule};

/// Soon enough to learn in time that a relay leaves accounts out, seldom enough to be no burden to it.
pub(super) const SCHEDULE: Schedule = Schedule {
    name: "relay_checks",
    period: Duration::from_mins(10),
    limit: Duration::from_mins(10),
    run: |context| run(context).boxed(),
};

/// Questions a second to one relay.
const PER_SECOND: u16 = 5;

/// Safe to run twice and to drop: each relay's answers are kept as soon as they are all there.
async fn run(context: Context) -> anyhow::Result<Report> {
    let relays = Relay::all(&context.config.upstreams.crawlers);
    let checks = join_all(relays.iter().map(|relay| check(&context, relay))).await;
    let with_warnings = checks.into_iter().collect::<anyhow::Result<Vec<bool>>>()?.into_iter().filter(|warned| *warned);
    let text = format!("asked {} relays, {} give cause for a warning", relays.len(), with_warnings.count());
    Ok(Report { text, is_news: false })
}

/// Asks one relay, and keeps what it said; true if there is something to look at.
async fn check(context: &Context, relay: &Relay) -> anyhow::Result<bool> {
    let settings = &context.config.relay;
    let checker = Checker {
        client: context.relay_client.clone(),
        accounts: context.accounts.clone(),
        sequencer: context.sequencer.clone(),
        clock: context.clock.clone(),
        limits: settings.account_limits.clone(),
        second_look: SECOND_LOOK,
    };
    let plan = Plan { whose: Whose::Some(settings.sample), per_second: PER_SECOND, progress: &|_, _| {} };
    let check = checker.check(relay, &plan).await?;
    let before = context.relays.list_checks(&[&relay.name]).await.context("cannot read the last check")?;
    log_changes(before.first(), &check);
    context.relays.note_check(&check).await.context("cannot keep the check")?;
    Ok(!check.warnings().is_empty())
}

/// Says what is new, and what is over; not again what goes on, which the metrics show.
fn log_changes(before: Option<&Check>, now: &Check) {
    let (old, new) = (before.map(Check::warnings).unwrap_or_default(), now.warnings());
    for warning in new.iter().filter(|warning| !old.contains(warning)) {
        warn!(relay = now.relay, warning = warning.name(), "a relay: {}", now.explain(*warning));
    }
    for warning in old.iter().filter(|warning| !new.contains(warning)) {
        info!(relay = now.relay, warning = warning.name(), "a warning about a relay is over");
    }
}
