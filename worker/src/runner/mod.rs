//! Runs background work until it is told to stop.
//!
//! Any number of workers share the work. Each enters itself with a lease and renews it; what it claims under the lease
//! no other worker runs (see `common::jobs`). A worker that loses its lease, because Postgres or the network was away
//! for too long, drops what it was doing and enters itself anew. Told to stop, it claims no more, finishes what it runs
//! within the grace, and leaves.

mod lease;
mod metrics;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::config::Config;
use common::db::PgPool;
use common::jobs::{Jobs, Worker};
use common::repo::ImportLeftovers;
use common::sequencer::Sequencer;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use metrics::Counts;
pub use metrics::Monitor;
pub use schedule::{Report, Schedule};

/// Pause between two looks for work that is due.
const POLL: Duration = Duration::from_secs(2);
/// Pause after Postgres refused.
const PAUSE: Duration = Duration::from_secs(1);
/// How long leaving may take; a lease that is not given back runs out.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// What work has at hand; cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// Settings.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// The log of events.
    pub sequencer: Sequencer,
    /// What killed imports have left.
    pub import_leftovers: ImportLeftovers,
}

/// One worker.
#[derive(Debug)]
pub struct Runner {
    name: String,
    context: Context,
    jobs: Jobs,
    schedules: Vec<(Schedule, Arc<Counts>)>,
    monitor: Monitor,
}

/// Why a worker stopped working under a lease.
enum Pause {
    Stopped,
    LeaseLost,
}

impl Runner {
    /// A worker with some work to do, which goes by `name` among people.
    pub fn new(name: impl Into<String>, context: Context, database: &PgPool, schedules: Vec<Schedule>) -> Self {
        let counts = || Arc::new(Counts::new(context.clock.clone()));
        let schedules: Vec<_> = schedules.into_iter().map(|schedule| (schedule, counts())).collect();
        let monitor = Monitor::new(&context, database, &schedules);
        Self { name: name.into(), context, jobs: Jobs::new(database.clone()), schedules, monitor }
    }

    /// What this worker counts, and whether it is well.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Works until `stop` fires; what runs then has `grace` to end.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        while let Some(Some(worker)) = stop.run_until_cancelled(self.enter()).await {
            self.monitor.set_ready(true);
            let mut running = JoinSet::new();
            let mut lease = std::pin::pin!(lease::keep(&self.jobs, worker));
            let pause = tokio::select! {
                () = stop.cancelled() => Pause::Stopped,
                () = &mut lease => Pause::LeaseLost,
                () = self.work(worker, &mut running) => Pause::Stopped,
            };
            self.monitor.set_ready(false);
            if matches!(pause, Pause::Stopped) {
                info!(running = running.len(), "stopping");
                let finished = async { while running.join_next().await.is_some() {} };
                tokio::select! {
                    () = finished => {}
                    () = &mut lease => {}
                    () = sleep(grace) => warn!("stopped before all work was done"),
                }
            }
            running.shutdown().await;
            // If it cannot leave, its lease runs out.
            let _ = timeout(LEAVE_LIMIT, self.jobs.leave(worker)).await;
        }
    }

    /// Enters this worker, as soon as Postgres allows.
    async fn enter(&self) -> Option<Worker> {
        let names = self.names();
        loop {
            let entered = async {
                self.jobs.ensure_schedules(&names).await?;
                self.jobs.enter(&self.name).await
            };
            match entered.await {
                Ok(worker) => return Some(worker),
                Err(error) => warn!(%error, "cannot enter this worker; trying again"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Starts whatever is due, for ever.
    async fn work(&self, worker: Worker, running: &mut JoinSet<()>) {
        let names = self.names();
        loop {
            while running.try_join_next().is_some() {}
            match self.jobs.claim_schedule(worker, &names).await {
                Ok(Some(name)) => {
                    if let Some((schedule, counts)) = self.schedules.iter().find(|(known, _)| known.name == name) {
                        let (context, jobs) = (self.context.clone(), self.jobs.clone());
                        running.spawn(schedule.run_once(worker, context, jobs, Arc::clone(counts)));
                    }
                }
                Ok(None) => {
                    // What ends may be due again at once.
                    tokio::select! {
                        () = sleep(POLL) => {}
                        Some(_) = running.join_next() => {}
                    }
                }
                Err(error) => {
                    warn!(%error, "cannot look for work; trying again");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.schedules.iter().map(|(schedule, _)| schedule.name).collect()
    }
}

#[cfg(test)]
mod tests;
