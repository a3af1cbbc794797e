//! Work that comes round.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::jobs::{Ending, Jobs, Worker};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::Context;
use super::metrics::Counts;

/// Pause after the first failure of several; it doubles with each, up to the period.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// Work that comes round, on one worker at a time. Adding one takes a file in `jobs` and a line in its `mod.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Its name: the key of its row, and a label of its metrics. Never changed.
    pub name: &'static str,
    /// The pause from the end of one run to the next.
    pub period: Duration,
    /// How long a run may take.
    pub limit: Duration,
    /// Does it. A run may be dropped at any point, and another begun: what it does must bear that.
    pub run: fn(Context) -> BoxFuture<'static, anyhow::Result<Report>>,
}

/// What a run did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// For people.
    pub text: String,
    /// Whether to log it as news, rather than for debugging.
    pub is_news: bool,
}

impl Schedule {
    /// Runs it for a worker that has claimed it, and gives it back.
    pub(super) async fn run_once(self, worker: Worker, context: Context, jobs: Jobs, counts: Arc<Counts>) {
        let started = Instant::now();
        let span = info_span!("schedule", name = self.name);
        let outcome = self.attempt(context).instrument(span.clone()).await;
        counts.finished(outcome.is_ok(), started.elapsed());
        let duration_ms = started.elapsed().as_millis();
        let (ending, pause) = match &outcome {
            Ok(report) => {
                span.in_scope(|| {
                    if report.is_news {
                        info!(duration_ms, "{}", report.text);
                    } else {
                        debug!(duration_ms, "{}", report.text);
                    }
                });
                (Ending::Done(&report.text), self.period)
            }
            Err(problem) => {
                span.in_scope(|| error!(duration_ms, "{problem}"));
                (Ending::Failed(problem), self.retry_pause(&jobs).await)
            }
        };
        if let Err(error) = jobs.finish_schedule(worker, self.name, ending, pause).await {
            span.in_scope(|| warn!(%error, "cannot give a schedule back; it will be free when the claim runs out"));
        }
    }

    async fn attempt(self, context: Context) -> Result<Report, String> {
        let run = AssertUnwindSafe((self.run)(context)).catch_unwind();
        match timeout(self.limit, run).await {
            Ok(Ok(Ok(report))) => Ok(report),
            Ok(Ok(Err(error))) => Err(format!("{error:#}")),
            // The panic hook says more.
            Ok(Err(_)) => Err("panicked".to_owned()),
            Err(_) => Err(format!("took longer than {:?}", self.limit)),
        }
    }

    async fn retry_pause(self, jobs: &Jobs) -> Duration {
        let failures = jobs.failures(self.name).await.unwrap_or(0);
        FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(self.period)
    }
}
