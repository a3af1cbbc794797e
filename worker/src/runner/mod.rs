//! Runs background work until it is told to stop: jobs, which are done once ([`Run`]), and schedules ([`Schedule`]).
//!
//! Any number of workers share the work. Each enters itself with a lease and renews it; what it claims under the lease
//! no other worker runs (see `common::jobs`). A worker that loses its lease, because Postgres or the network was away
//! for too long, drops what it was doing and enters itself anew. Told to stop, it claims no more, finishes what it runs
//! within the grace, and leaves.
//!
//! An idle worker is woken by Postgres when a job is enqueued, and looks every two seconds in any case.

mod job;
mod lease;
mod metrics;
mod schedule;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use common::account::Accounts;
use common::blob::{BlobChecker, Blobs, Collector};
use common::clock::Clock;
use common::config::Config;
use common::db::{Error, PgPool};
use common::jobs::{Jobs, Worker};
use common::lifecycle::{Announcements, DeletedAccounts, Lifecycle};
use common::relay::Relays;
use common::repo::ImportLeftovers;
use common::sequencer::Sequencer;
use common::session::Sessions;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::jobs::BlobChecks;
use crate::mail::Mailer;
use crate::relay::RelayClient;
pub use job::{JobError, Kind, Run};
use metrics::Counts;
pub use metrics::Monitor;
pub use schedule::{Report, Schedule};

/// Pause between two looks for work that is due.
const POLL: Duration = Duration::from_secs(2);
/// How many jobs a worker does at once.
const CONCURRENCY: usize = 16;
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
    /// Accounts.
    pub accounts: Accounts,
    /// Sessions.
    pub sessions: Sessions,
    /// Workflows of accounts.
    pub lifecycle: Lifecycle,
    /// What deleted accounts have left.
    pub deleted_accounts: DeletedAccounts,
    /// Mail.
    pub mailer: Mailer,
    /// The log of events.
    pub sequencer: Sequencer,
    /// What killed imports have left.
    pub import_leftovers: ImportLeftovers,
    /// Changes of DIDs, and telling the network of them.
    pub announcements: Announcements,
    /// Blobs.
    pub blobs: Blobs,
    /// What removes blobs that nobody will need.
    pub blob_collector: Collector,
    /// What compares blobs with their CIDs.
    pub blob_checker: BlobChecker,
    /// What it found.
    pub blob_checks: Arc<BlobChecks>,
    /// What relays were told, and what they said.
    pub relays: Relays,
    /// Calls them.
    pub relay_client: RelayClient,
}

/// Everything a worker does.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// What comes round.
    pub schedules: Vec<Schedule>,
    /// What is done once.
    pub kinds: Vec<Kind>,
}

/// One worker.
#[derive(Debug)]
pub struct Runner {
    name: String,
    context: Context,
    jobs: Jobs,
    schedules: Vec<(Schedule, Arc<Counts>)>,
    kinds: Vec<Kind>,
    slots: Arc<Semaphore>,
    monitor: Monitor,
}

/// Why a worker stopped working under a lease.
enum Pause {
    Stopped,
    LeaseLost,
}

impl Runner {
    /// A worker with some work to do, which goes by `name` among people.
    pub fn new(name: impl Into<String>, context: Context, database: &PgPool, work: Work) -> Self {
        let Work { schedules, kinds } = work;
        let counts = || Arc::new(Counts::new(context.clock.clone()));
        let schedules: Vec<_> = schedules.into_iter().map(|schedule| (schedule, counts())).collect();
        let monitor = Monitor::new(&context, database, &schedules, &kinds);
        let (jobs, slots) = (Jobs::new(database.clone()), Arc::new(Semaphore::new(CONCURRENCY)));
        Self { name: name.into(), context, jobs, schedules, kinds, slots, monitor }
    }

    /// What this worker counts, and whether it is well.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Works until `stop` fires; what runs then has `grace` to end.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let mut lost = None;
        while let Some(Some(worker)) = stop.run_until_cancelled(self.enter(lost)).await {
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
            lost = match pause {
                Pause::LeaseLost => Some(worker),
                Pause::Stopped => {
                    self.leave(worker).await;
                    None
                }
            };
        }
        if let Some(worker) = lost {
            self.leave(worker).await;
        }
    }

    /// Takes this worker off the list. If it cannot leave, its lease runs out.
    async fn leave(&self, worker: Worker) {
        let _ = timeout(LEAVE_LIMIT, self.jobs.leave(worker)).await;
    }

    /// Enters this worker, as soon as Postgres allows; in the place of the one whose lease it lost, if it has.
    async fn enter(&self, lost: Option<Worker>) -> Option<Worker> {
        let names = self.names();
        loop {
            let entered = async {
                self.jobs.ensure_schedules(&names).await?;
                match lost {
                    Some(lost) => self.jobs.enter_again(&self.name, lost).await,
                    None => self.jobs.enter(&self.name).await,
                }
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
        let mut wakeups = self.jobs.wakeups(POLL);
        loop {
            while running.try_join_next().is_some() {}
            let started = async {
                let schedule = self.start_schedule(worker, running).await?;
                Ok::<_, Error>(self.start_job(worker, running).await? || schedule)
            };
            match started.await {
                Ok(true) => {}
                // What ends may be due again at once, or leave room for another.
                Ok(false) => tokio::select! {
                    () = wakeups.next() => {}
                    Some(_) = running.join_next() => {}
                },
                Err(error) => {
                    warn!(%error, "cannot look for work; trying again");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Starts a schedule that is due; false if there is none.
    async fn start_schedule(&self, worker: Worker, running: &mut JoinSet<()>) -> Result<bool, Error> {
        let Some(name) = self.jobs.claim_schedule(worker, &self.names()).await? else { return Ok(false) };
        if let Some((schedule, counts)) = self.schedules.iter().find(|(known, _)| known.name == name) {
            let (context, jobs) = (self.context.clone(), self.jobs.clone());
            running.spawn(schedule.run_once(worker, context, jobs, Arc::clone(counts)));
        }
        Ok(true)
    }

    /// Starts a job that is due; false if there is none, or no room for it. The kinds of which least runs here come first.
    async fn start_job(&self, worker: Worker, running: &mut JoinSet<()>) -> Result<bool, Error> {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return Ok(false) };
        let mut kinds: Vec<_> = self.kinds.iter().filter(|kind| kind.slots.available_permits() > 0).collect();
        kinds.sort_by_key(|kind| Reverse(kind.slots.available_permits()));
        let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        if names.is_empty() {
            return Ok(false);
        }
        let Some(claim) = self.jobs.claim_job(worker, &names).await? else { return Ok(false) };
        let kind = kinds.into_iter().find(|kind| kind.name == claim.kind);
        // Nobody else takes slots, so there is one still.
        if let Some((kind, slot_of_kind)) = kind.and_then(|kind| Some((kind, kind.take_slot()?))) {
            let hands = (self.context.clone(), self.jobs.clone());
            running.spawn(kind.clone().run_once(claim, worker, hands, [slot, slot_of_kind]));
        }
        Ok(true)
    }

    fn names(&self) -> Vec<&'static str> {
        self.schedules.iter().map(|(schedule, _)| schedule.name).collect()
    }
}

#[cfg(test)]
mod tests;
