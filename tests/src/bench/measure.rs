//! Runs workers against a server for a while, and says what it cost.
//!
//! Each worker sends its next request when the last one is answered. First they warm up: connections, caches, plans of
//! statements. Then a window opens and closes without stopping them; what is completed in between counts, against the
//! CPU time that the server's processes used between the same two moments ([`crate::processes`]). Background work that
//! falls into the window (checkpoints, the log of requests, vacuum) belongs to the cost of the operations. For a slow server
//! the window stays open until as many steps are completed as there are workers.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::connection::{Call, Connection};
use crate::latency::Latencies;
use crate::post;
use crate::processes::{Processes, Usage};
use crate::progress::Progress;
use crate::row::Row;
use crate::session::Account;

/// How often memory is looked at, and progress shown.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// How long a window stays open at most until each worker, on average, has completed a step.
const LONGEST_WINDOW: Duration = Duration::from_mins(1);
/// A worker gives up after this many failures.
const FAILURE_LIMIT: u64 = 20;

/// What one step did.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Done {
    /// Operations, in the scenario's unit.
    pub(crate) count: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
}

/// Something to do over and over.
pub(crate) trait Work: Send + 'static {
    /// Waits until it is to be done again: at once, unless the worker keeps a pace.
    fn due(&mut self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Does it once.
    fn step(&mut self) -> impl Future<Output = Result<Done>> + Send;
}

/// Sends requests in turn, each as one operation.
#[derive(Debug)]
pub(crate) struct Requests {
    connection: Connection,
    calls: Vec<Call>,
    next: usize,
}

impl Requests {
    /// Sends `calls` over `connection`, beginning with the one at `first`.
    pub(crate) fn new(connection: Connection, calls: Vec<Call>, first: usize) -> Self {
        Self { connection, calls, next: first }
    }
}

impl Work for Requests {
    async fn step(&mut self) -> Result<Done> {
        let call = &self.calls[self.next % self.calls.len()];
        self.next += 1;
        Ok(Done { count: 1, bytes: self.connection.send(call).await? })
    }
}

/// Writes posts, into several repositories in turn, each request as one operation.
#[derive(Debug)]
pub(crate) struct Writes {
    connection: Connection,
    accounts: Vec<Account>,
    /// Records of each request; `None` for single writes.
    batch: Option<usize>,
    next: usize,
    prepared: Option<Result<Call>>,
}

impl Writes {
    /// Writes to `accounts` over `connection`: single records, or batches of this many.
    pub(crate) fn new(connection: Connection, accounts: Vec<Account>, batch: Option<usize>) -> Self {
        Self { connection, accounts, batch, next: 0, prepared: None }
    }
}

impl Work for Writes {
    /// Makes the request, which is not to be measured.
    async fn due(&mut self) {
        let account = &self.accounts[self.next % self.accounts.len()];
        self.next += 1;
        self.prepared = Some(match self.batch {
            Some(records) => post::batch(account, records),
            None => post::create(account, None),
        });
    }

    async fn step(&mut self) -> Result<Done> {
        let call = self.prepared.take().context("no request")??;
        Ok(Done { count: 1, bytes: self.connection.send(&call).await? })
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Before the window.
    pub(crate) warm_up: Duration,
    /// The window.
    pub(crate) window: Duration,
}

/// Where and how to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    /// How long.
    pub(crate) plan: Plan,
    /// The server's processes.
    pub(crate) processes: &'a Processes,
    /// Shows how far it is.
    pub(crate) progress: &'a Progress,
}

/// In which part of a measurement the workers are.
#[derive(Default, Debug)]
pub(crate) struct Phase {
    part: AtomicU8,
    /// Steps that were completed within the window.
    completed: AtomicUsize,
}

impl Phase {
    /// The window is open.
    pub(crate) const MEASURING: u8 = 1;
    /// The workers are to stop.
    const OVER: u8 = 2;

    fn set(&self, phase: u8) {
        self.part.store(phase, Ordering::Relaxed);
    }

    /// Whether they are in this part.
    pub(crate) fn is(&self, phase: u8) -> bool {
        self.part.load(Ordering::Relaxed) == phase
    }
}

/// What one worker saw within the window.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// What its steps did.
    pub(crate) done: Done,
    /// Steps that failed, also outside of the window.
    pub(crate) failures: u64,
    /// The first failure.
    pub(crate) failure: Option<Error>,
    /// How long its steps took.
    pub(crate) latencies: Latencies,
}

impl Tally {
    /// Adds what a step did.
    pub(crate) fn count(&mut self, done: Done) {
        self.done.count += done.count;
        self.done.bytes += done.bytes;
    }

    /// Adds a failed step.
    pub(crate) fn fail(&mut self, error: Error) {
        self.failures += 1;
        self.failure.get_or_insert(error);
    }

    fn append(&mut self, other: Self) {
        self.count(other.done);
        self.failures += other.failures;
        self.failure = self.failure.take().or(other.failure);
        self.latencies.append(other.latencies);
    }
}

/// Measures `workers`, all at once. Others see by `phase` when the window is open.
///
/// # Errors
/// A worker panics. Requests that fail are counted in the row.
pub(crate) async fn run<W: Work>(workers: Vec<W>, phase: &Arc<Phase>, setting: Setting<'_>) -> Result<Row> {
    let Setting { plan, processes, progress } = setting;
    let tasks: Vec<_> = workers.into_iter().map(|worker| tokio::spawn(work(worker, Arc::clone(phase)))).collect();
    sleep(plan.warm_up).await;
    let mut watch = Watch::start(processes);
    phase.set(Phase::MEASURING);
    let enough = || phase.completed.load(Ordering::Relaxed) >= tasks.len() || tasks.iter().all(JoinHandle::is_finished);
    while watch.elapsed() < plan.window || (watch.elapsed() < LONGEST_WINDOW && !enough()) {
        let left = Some(plan.window.saturating_sub(watch.elapsed())).filter(|left| !left.is_zero());
        sleep(left.unwrap_or(SAMPLE_INTERVAL).min(SAMPLE_INTERVAL)).await;
        watch.sample();
        progress.fraction(watch.elapsed().as_secs_f64() / plan.window.as_secs_f64());
    }
    phase.set(Phase::OVER);
    let cost = watch.stop();
    let mut total = Tally::default();
    for tally in try_join_all(tasks).await? {
        total.append(tally);
    }
    Ok(Row::new(total, &cost))
}

async fn work(mut worker: impl Work, phase: Arc<Phase>) -> Tally {
    let mut tally = Tally::default();
    while !phase.is(Phase::OVER) && tally.failures < FAILURE_LIMIT {
        worker.due().await;
        let start = Instant::now();
        match worker.step().await {
            Ok(done) if phase.is(Phase::MEASURING) => {
                tally.latencies.add(start.elapsed());
                tally.count(done);
                phase.completed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(error) => tally.fail(error),
        }
    }
    tally
}

/// What a server used between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    /// Time on the wall.
    pub(crate) elapsed: Duration,
    /// CPU time, and the largest memory seen, by program; `None` if the server's processes are not known.
    pub(crate) usage: Option<Usage>,
    /// By how many bytes memory has grown, at most.
    pub(crate) memory_growth: u64,
}

/// Watches the processes of a server.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    processes: &'a Processes,
    started: Instant,
    before: Usage,
    peak: Usage,
}

impl<'a> Watch<'a> {
    /// Begins.
    pub(crate) fn start(processes: &'a Processes) -> Self {
        let before = processes.usage();
        Self { processes, started: Instant::now(), peak: before.clone(), before }
    }

    /// How long it has watched.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Looks at the memory in use; what no look sees is not in the peak.
    pub(crate) fn sample(&mut self) {
        let now = self.processes.usage();
        if now.total_memory() > self.peak.total_memory() {
            self.peak.memory = now.memory;
        }
    }

    /// Ends.
    pub(crate) fn stop(mut self) -> Cost {
        let elapsed = self.started.elapsed();
        let now = self.processes.usage();
        self.sample();
        let cpu = now.cpu.into_iter().map(|(name, cpu)| {
            let before = self.before.cpu.get(&name).copied().unwrap_or_default();
            (name, cpu.saturating_sub(before))
        });
        let usage = Usage { cpu: cpu.collect(), memory: self.peak.memory };
        let memory_growth = usage.total_memory() - self.before.total_memory();
        Cost { elapsed, usage: (!self.processes.are_unknown()).then_some(usage), memory_growth }
    }
}
