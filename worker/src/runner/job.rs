//! Work that is done once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::jobs::{Claim, Job, Jobs, Outcome, Policy, Worker};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, error, info, info_span, warn};

use super::Context;
use super::metrics::JobCounts;

/// How many jobs of one kind a worker does at once: fewer than it does in all, so that a kind whose server hangs leaves
/// room for the others.
const LIMIT_OF_KIND: usize = 8;
/// The longest reason that is kept, in bytes.
const REASON_LIMIT: usize = 2_000;

/// How a [`Job`] is done. Adding one takes a file in `jobs` and a line in its `mod.rs`.
pub trait Run: Job {
    /// How long a run may take.
    const LIMIT: Duration = Duration::from_mins(2);

    /// Does it. Looks at the state as it is now. A run may be dropped at any point, and another begun: what it does must
    /// bear that, and being done twice.
    fn run(&self, context: &Context) -> impl Future<Output = Result<(), JobError>> + Send;
}

/// Why a job failed. The text is kept for operators and logged, so it names nobody.
#[derive(Debug)]
pub enum JobError {
    /// It may work later.
    Retry(anyhow::Error),
    /// It will never work.
    GiveUp(anyhow::Error),
}

impl JobError {
    /// It may work later.
    pub fn retry(error: impl Into<anyhow::Error>) -> Self {
        Self::Retry(error.into())
    }

    /// It will never work: an operator should look.
    pub fn give_up(error: impl Into<anyhow::Error>) -> Self {
        Self::GiveUp(error.into())
    }
}

/// A kind of job that this program can do.
#[derive(Clone, Debug)]
pub struct Kind {
    pub(super) name: &'static str,
    policy: Policy,
    limit: Duration,
    run: fn(Value, Context) -> BoxFuture<'static, Result<(), JobError>>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) counts: Arc<JobCounts>,
}

/// What a job holds while it runs, so that no more than a few do.
pub(super) type Slots = [OwnedSemaphorePermit; 2];

impl Kind {
    /// The kind that `J` is.
    pub fn of<J: Run>() -> Self {
        Self {
            name: J::KIND,
            policy: J::POLICY,
            limit: J::LIMIT,
            run: |payload, context| run::<J>(payload, context).boxed(),
            slots: Arc::new(Semaphore::new(LIMIT_OF_KIND)),
            counts: Arc::default(),
        }
    }

    /// Room for one more of this kind.
    pub(super) fn take_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Does a job that a worker has claimed, and ends the claim.
    pub(super) async fn run_once(self, claim: Claim, worker: Worker, (context, jobs): (Context, Jobs), slots: Slots) {
        let started = Instant::now();
        let span = info_span!("job", kind = self.name, id = claim.id, attempt = claim.attempts);
        let (id, attempts) = (claim.id, claim.attempts);
        let result = self.attempt(claim, context).instrument(span.clone()).await;
        self.counts.duration.observe_duration(started.elapsed());
        let duration_ms = started.elapsed().as_millis();
        let reason = result.as_ref().err().map(|(_, reason)| shorten(reason)).unwrap_or_default();
        let outcome = self.judge(&result, attempts, reason);
        span.in_scope(|| match outcome {
            Outcome::Done => info!(duration_ms, "done"),
            Outcome::Retry(reason, pause) => warn!(duration_ms, ?pause, "failed, to be tried again: {reason}"),
            Outcome::Dead(reason) => error!(duration_ms, "given up: {reason}"),
        });
        self.counts.finished(outcome);
        if let Err(error) = jobs.finish_job(worker, id, outcome).await {
            span.in_scope(|| warn!(%error, "cannot end a job; it will be free when the claim runs out"));
        }
        drop(slots);
    }

    fn judge<'a>(&self, result: &Attempt, attempts: u32, reason: &'a str) -> Outcome<'a> {
        match result {
            Ok(()) => Outcome::Done,
            Err((Verdict::GiveUp, _)) => Outcome::Dead(reason),
            Err((Verdict::Retry, _)) => match self.policy.pause_after(attempts, rand::random()) {
                Some(pause) => Outcome::Retry(reason, pause),
                None => Outcome::Dead(reason),
            },
        }
    }

    async fn attempt(&self, claim: Claim, context: Context) -> Attempt {
        // A worker that dies cannot say so; only this count tells.
        if claim.attempts > self.policy.tries {
            return Err((Verdict::GiveUp, "the workers that tried died, or lost their leases".to_owned()));
        }
        let run = AssertUnwindSafe((self.run)(claim.payload, context)).catch_unwind();
        match timeout(self.limit, run).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(JobError::Retry(error)))) => Err((Verdict::Retry, format!("{error:#}"))),
            Ok(Ok(Err(JobError::GiveUp(error)))) => Err((Verdict::GiveUp, format!("{error:#}"))),
            // The panic hook says more.
            Ok(Err(_)) => Err((Verdict::Retry, "panicked".to_owned())),
            Err(_) => Err((Verdict::Retry, format!("took longer than {:?}", self.limit))),
        }
    }
}

type Attempt = Result<(), (Verdict, String)>;

#[derive(Clone, Copy)]
enum Verdict {
    Retry,
    GiveUp,
}

async fn run<J: Run>(payload: Value, context: Context) -> Result<(), JobError> {
    // Another release may have enqueued it.
    let job: J = serde_json::from_value(payload).map_err(JobError::give_up)?;
    job.run(&context).await
}

fn shorten(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_LIMIT)]
}
