//! What a worker counts, and whether it is well: `/metrics`, `/livez` and `/readyz` on the metrics port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, serve};
use common::blob::{self, CollectorCounts};
use common::clock::Clock;
use common::db::PgPool;
use common::jobs::{Jobs, Outcome, QueueDepth};
use common::relay::{Relay, Relays};
use common::sequencer::Sequencer;
use common::telemetry::metrics::{self, Counter, Exposition, Gauge, Histogram};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::jobs::BlobChecks;

use super::{Context, Kind, Schedule};
use crate::relay;

/// How long a scrape waits for Postgres.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a worker counts, and whether it is well; cheap to clone.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_ready: AtomicBool,
    schedules: Vec<(&'static str, Arc<Counts>)>,
    kinds: Vec<(&'static str, Arc<JobCounts>)>,
    jobs: Jobs,
    sequencer: Sequencer,
    relays: Relays,
    /// Names of those that the settings name.
    relay_names: Vec<String>,
    database: PgPool,
    collected: Arc<CollectorCounts>,
    blob_checks: Arc<BlobChecks>,
}

/// The runs of one schedule in this worker.
#[derive(Debug)]
pub(super) struct Counts {
    clock: Clock,
    done: Counter,
    failed: Counter,
    duration: Histogram<14>,
    /// Unix time in seconds of the end of the last run that did not fail.
    last_done: Gauge,
}

impl Counts {
    pub(super) fn new(clock: Clock) -> Self {
        let duration = Histogram::default();
        Self { clock, done: Counter::new(), failed: Counter::new(), duration, last_done: Gauge::new() }
    }

    pub(super) fn finished(&self, is_ok: bool, duration: Duration) {
        self.duration.observe_duration(duration);
        if is_ok {
            self.done.increment();
            let now = u64::try_from(self.clock.now().timestamp()).unwrap_or_default();
            self.last_done.set(now);
        } else {
            self.failed.increment();
        }
    }
}

/// The runs of one kind of job in this worker.
#[derive(Debug, Default)]
pub(super) struct JobCounts {
    done: Counter,
    retried: Counter,
    dead: Counter,
    pub(super) duration: Histogram<14>,
}

impl JobCounts {
    pub(super) fn finished(&self, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Done => self.done.increment(),
            Outcome::Retry(..) => self.retried.increment(),
            Outcome::Dead(_) => self.dead.increment(),
        }
    }
}

impl Monitor {
    pub(super) fn new(
        context: &Context,
        database: &PgPool,
        schedules: &[(Schedule, Arc<Counts>)],
        kinds: &[Kind],
    ) -> Self {
        let relays = Relay::all(&context.config.upstreams.crawlers);
        Self(Arc::new(Inner {
            is_ready: AtomicBool::new(false),
            schedules: schedules.iter().map(|(schedule, counts)| (schedule.name, Arc::clone(counts))).collect(),
            kinds: kinds.iter().map(|kind| (kind.name, Arc::clone(&kind.counts))).collect(),
            jobs: Jobs::new(database.clone()),
            sequencer: context.sequencer.clone(),
            collected: context.blob_collector.counts(),
            blob_checks: Arc::clone(&context.blob_checks),
            relays: context.relays.clone(),
            relay_names: relays.into_iter().map(|relay| relay.name).collect(),
            database: database.clone(),
        }))
    }

    pub(super) fn set_ready(&self, is_ready: bool) {
        self.0.is_ready.store(is_ready, Relaxed);
    }

    /// Answers on the metrics port, for ever.
    ///
    /// # Errors
    /// If the listener breaks.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let router = Router::new()
            .route("/metrics", get(expose))
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .with_state(self);
        serve(listener, router).await
    }

    /// The metrics as text.
    pub async fn text(&self) -> String {
        let Inner { sequencer, database, jobs, .. } = &*self.0;
        let mut text = Exposition::default();
        self.write_schedules(&mut text);
        self.write_jobs(&mut text);
        self.0.collected.write(&mut text);
        self.0.blob_checks.write(&mut text);
        blob::expose_store(&mut text);
        if let Ok(Ok(depths)) = timeout(PATIENCE, jobs.depths()).await {
            self.write_depths(&mut text, &depths);
        }
        text.gauge("pds_db_connections", "Connections to Postgres, those for the log aside.", database.size());
        text.gauge("pds_db_connections_idle", "Of these, connections that nobody uses.", database.num_idle());
        if let Ok(Ok(place)) = timeout(PATIENCE, sequencer.locate(i64::MAX)).await {
            text.gauge("pds_sequencer_last_seq", "Seq of the newest event.", place.newest);
            text.gauge("pds_sequencer_floor_seq", "Seq from which on no event was dropped for its age.", place.floor);
        }
        self.write_relays(&mut text).await;
        text.finish()
    }

    /// As the database has it, so that all workers show the same.
    async fn write_relays(&self, text: &mut Exposition) {
        let Inner { relays, relay_names, .. } = &*self.0;
        if relay_names.is_empty() {
            return;
        }
        let names: Vec<&str> = relay_names.iter().map(String::as_str).collect();
        let known = async {
            Ok::<_, common::db::Error>((relays.list_notices(&names).await?, relays.list_checks(&names).await?))
        };
        if let Ok(Ok((notices, checks))) = timeout(PATIENCE, known).await {
            relay::write_metrics(text, &notices, &checks);
        }
    }

    fn write_schedules(&self, text: &mut Exposition) {
        let schedules = &self.0.schedules;
        let runs = "pds_schedule_runs_total";
        text.counters(runs, "Runs of schedules by this worker, by outcome.");
        for (name, counts) in schedules {
            text.sample(runs, &[("schedule", name), ("outcome", "done")], counts.done.get());
            text.sample(runs, &[("schedule", name), ("outcome", "failed")], counts.failed.get());
        }
        let duration = "pds_schedule_duration_seconds";
        text.histograms(duration, "How long these runs took.");
        for (name, counts) in schedules {
            text.histogram(duration, &[("schedule", name)], &counts.duration);
        }
        let last = "pds_schedule_last_done_timestamp_seconds";
        text.gauges(last, "When this worker last finished a run without failure; 0 if it never did.");
        for (name, counts) in schedules {
            text.sample(last, &[("schedule", name)], counts.last_done.get());
        }
    }

    fn write_jobs(&self, text: &mut Exposition) {
        let kinds = &self.0.kinds;
        let runs = "pds_job_runs_total";
        text.counters(runs, "Runs of jobs by this worker, by kind and outcome.");
        for (name, counts) in kinds {
            let outcomes = [("done", &counts.done), ("retried", &counts.retried), ("dead", &counts.dead)];
            for (outcome, count) in outcomes {
                text.sample(runs, &[("kind", name), ("outcome", outcome)], count.get());
            }
        }
        let duration = "pds_job_duration_seconds";
        text.histograms(duration, "How long these runs took.");
        for (name, counts) in kinds {
            text.histogram(duration, &[("kind", name)], &counts.duration);
        }
    }

    /// The whole queue, which all workers share. Of the kinds that this program knows, so that labels stay few.
    fn write_depths(&self, text: &mut Exposition, depths: &[QueueDepth]) {
        let of = |name: &str| depths.iter().find(|depth| depth.kind == name);
        let jobs = "pds_jobs";
        text.gauges(jobs, "Jobs in the queue that all workers share, by kind and state.");
        for (name, _) in &self.0.kinds {
            let (waiting, running, dead) =
                of(name).map_or((0, 0, 0), |depth| (depth.waiting, depth.running, depth.dead));
            for (state, count) in [("waiting", waiting), ("running", running), ("dead", dead)] {
                text.sample(jobs, &[("kind", name), ("state", state)], count);
            }
        }
        let overdue = "pds_job_overdue_seconds";
        text.gauges(overdue, "For how long the oldest job has been due that no worker does yet, by kind.");
        for (name, _) in &self.0.kinds {
            text.sample(overdue, &[("kind", name)], of(name).map_or(0, |depth| depth.overdue_seconds));
        }
    }
}

async fn expose(State(monitor): State<Monitor>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], monitor.text().await)
}

/// Fails while the worker has no lease.
async fn ready(State(monitor): State<Monitor>) -> impl IntoResponse {
    if monitor.0.is_ready.load(Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no lease\n")
    }
}
