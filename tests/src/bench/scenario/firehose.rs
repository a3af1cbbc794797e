//! Live delivery of events, while they are written.
//!
//! The key of each record that is written is the time at which its write began, so a subscriber sees from an event alone
//! how late it is. The clock ids of these keys also tell which writes began within the window, and which are the two probes
//! that a measurement begins and ends with: when all subscribers have seen the first they are live, and what they have not
//! seen at the last is missing.
//!
//! What delivery costs is a difference: the CPU time of the same writes with subscribers and without. The latter are
//! measured before and after: a server gets warmer while it is measured, and its machine faster or slower.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, ensure};
use atproto::syntax::{Tid, TidClock};
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::write::WRITERS;
use crate::connection::Connection;
use crate::latency::Latencies;
use crate::measure::{Done, Phase, Work};
use crate::post;
use crate::row::{Row, as_f64};
use crate::session::{Account, Session};
use crate::stream::{SILENCE_LIMIT, Subscription};

/// Subscribers that are served at once.
const SUBSCRIBERS: usize = 20;
/// Time between the writes of one writer: together 1,000 a second, if the server keeps up.
const BUSY_PACE: Duration = Duration::from_millis(32);
/// The same for a single writer on an idle server.
const IDLE_PACE: Duration = Duration::from_millis(50);
/// Time between probes until all subscribers are live.
const PROBE_PACE: Duration = Duration::from_millis(100);
/// What is added to a writer's clock id within the window.
const MEASURED: u16 = 512;
/// Clock ids of the probes; those of writers are lower.
const FIRST_PROBE: u16 = 1023;
const LAST_PROBE: u16 = 1022;

/// Delivery under load and on an idle server.
pub(super) async fn live(session: &mut Session) -> Result<Vec<Row>> {
    let accounts = session.accounts(WRITERS).await?.to_vec();
    let (before, _) = observe(session, &accounts, BUSY_PACE, 0).await?;
    let (writes, busy) = observe(session, &accounts, BUSY_PACE, SUBSCRIBERS).await?;
    let (after, _) = observe(session, &accounts, BUSY_PACE, 0).await?;
    let alone = mean(before, &after);
    let (lone_writes, idle) = observe(session, &accounts[..1], IDLE_PACE, SUBSCRIBERS).await?;
    let delivered = delivery(&busy, &writes, Some(&alone)).named("firehose");
    let idle = delivery(&idle, &lone_writes, None).named("firehose-idle");
    Ok(vec![delivered, writes.named("firehose-writes").without_bytes(), idle])
}

/// What all subscribers together saw.
#[derive(Default)]
struct Seen {
    /// Delays of the events of writes that began within the window.
    delays: Latencies,
    deliveries: u64,
}

/// What two measurements of the same cost on average.
fn mean(first: Row, second: &Row) -> Row {
    let mut row = first;
    for (program, cpu) in &mut row.cpu_by_program {
        *cpu = f64::midpoint(*cpu, second.cpu_by_program.get(program).copied().unwrap_or(0.0));
    }
    row.failures += second.failures;
    row.failure = row.failure.or_else(|| second.failure.clone());
    row
}

/// The row of the deliveries that `seen` tells of; they cost what `writes` cost more than `alone`, for each write. It tells
/// of the failures of `alone`, which has no row of its own.
fn delivery(seen: &Seen, writes: &Row, alone: Option<&Row>) -> Row {
    let mut delays = seen.delays.clone();
    let mut row = Row {
        unit: "event",
        count: seen.deliveries,
        rate: as_f64(seen.deliveries) / writes.seconds,
        p50: delays.percentile(50),
        p99: delays.percentile(99),
        megabytes_per_second: None,
        cpu: None,
        failures: alone.unwrap_or(writes).failures,
        failure: alone.unwrap_or(writes).failure.clone(),
        ..writes.clone()
    };
    row.cpu_by_program.clear();
    if let Some(alone) = alone.filter(|alone| alone.cpu.is_some() && seen.deliveries > 0) {
        let share = as_f64(writes.count) / as_f64(seen.deliveries);
        row.cpu_by_program = writes.cpu_by_program.clone();
        for (program, cpu) in &mut row.cpu_by_program {
            *cpu = (*cpu - alone.cpu_by_program.get(program).copied().unwrap_or(0.0)).max(0.0) * share;
        }
        row.cpu = Some(row.cpu_by_program.values().sum());
    }
    row
}

/// Writes at a steady pace while `subscribers` look on.
async fn observe(session: &Session, accounts: &[Account], pace: Duration, subscribers: usize) -> Result<(Row, Seen)> {
    let phase = Arc::new(Phase::default());
    let audience = Audience::open(session, accounts, subscribers).await?;
    let count = u32::try_from(accounts.len())?;
    let writers = (0..).zip(accounts).map(|(clock_id, account)| {
        let mut pace = interval_at(Instant::now() + pace * u32::from(clock_id) / count, pace);
        // A server that does not keep up gets the next write when it has answered, not all that were missed at once.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (connection, account, clock) = (session.connection()?, account.clone(), TidClock::new(clock_id));
        let (phase, acknowledged) = (Arc::clone(&phase), Arc::default());
        Ok(Writer { connection, account, clock, clock_id, phase, pace, acknowledged })
    });
    let writers = writers.collect::<Result<Vec<Writer>>>()?;
    let acknowledged: Vec<_> = writers.iter().map(|writer| Arc::clone(&writer.acknowledged)).collect();
    let mut row = session.measure_in(&phase, writers).await?;
    let acknowledged = acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    match audience.dismiss(Expected { acknowledged, exactly: row.failures == 0 }).await {
        Ok(seen) => Ok((row, seen)),
        Err(error) => {
            row.failures += 1;
            row.failure.get_or_insert(format!("{error:#}"));
            Ok((row, Seen::default()))
        }
    }
}

/// Writes records whose keys say when each write began.
struct Writer {
    connection: Connection,
    account: Account,
    clock: TidClock,
    clock_id: u16,
    phase: Arc<Phase>,
    pace: Interval,
    acknowledged: Arc<AtomicU64>,
}

impl Work for Writer {
    async fn due(&mut self) {
        self.pace.tick().await;
    }

    async fn step(&mut self) -> Result<Done> {
        let time = self.clock.next(now_micros()).to_micros();
        let mark = if self.phase.is(Phase::MEASURING) { MEASURED } else { 0 };
        let rkey = Tid::from_micros(time, self.clock_id + mark).to_string();
        self.connection.send(&post::create(&self.account, Some(&rkey))?).await?;
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(Done { count: 1, bytes: 0 })
    }
}

/// Subscribers, and a writer of probes.
struct Audience {
    prober: Connection,
    probed: Account,
    subscribers: Vec<JoinHandle<Result<View>>>,
}

/// What the server has acknowledged to each writer.
struct Expected {
    acknowledged: Vec<u64>,
    /// Whether nothing else can have been published: no write had an uncertain outcome.
    exactly: bool,
}

impl Audience {
    /// Opens the subscriptions, and waits until all are live.
    async fn open(session: &Session, accounts: &[Account], count: usize) -> Result<Self> {
        let writers: HashMap<String, usize> = (0..).zip(accounts).map(|(index, it)| (it.did.clone(), index)).collect();
        let writers = Arc::new(writers);
        let (live, mut all_live) = mpsc::channel::<()>(1);
        let mut subscribers = Vec::with_capacity(count);
        for _ in 0..count {
            let subscription = Subscription::open(&session.target.origin, None).await?;
            let view = View::new(Arc::clone(&writers), live.clone());
            subscribers.push(tokio::spawn(view.follow(subscription)));
        }
        drop(live);
        let mut audience = Self { prober: session.connection()?, probed: accounts[0].clone(), subscribers };
        let deadline = Instant::now() + SILENCE_LIMIT;
        // The channel closes when each has seen a probe.
        while count > 0 && timeout(PROBE_PACE, all_live.recv()).await.is_err() {
            ensure!(Instant::now() < deadline, "subscribers get no events");
            audience.probe(FIRST_PROBE).await?;
        }
        Ok(audience)
    }

    async fn probe(&mut self, clock_id: u16) -> Result<()> {
        let rkey = Tid::from_micros(now_micros(), clock_id).to_string();
        self.prober.send(&post::create(&self.probed, Some(&rkey))?).await.map(drop)
    }

    /// Waits until every subscriber has seen everything, and adds up what they saw.
    async fn dismiss(mut self, expected: Expected) -> Result<Seen> {
        let mut seen = Seen::default();
        if self.subscribers.is_empty() {
            return Ok(seen);
        }
        self.probe(LAST_PROBE).await?;
        for view in try_join_all(self.subscribers).await? {
            let view = view?;
            for (count, acknowledged) in view.counts.iter().zip(&expected.acknowledged) {
                let right = if expected.exactly { count == acknowledged } else { count >= acknowledged };
                ensure!(right, "a subscriber saw {count} of {acknowledged} writes");
            }
            seen.deliveries += view.deliveries;
            seen.delays.append(view.delays);
        }
        Ok(seen)
    }
}

/// What one subscriber sees.
struct View {
    writers: Arc<HashMap<String, usize>>,
    live: Option<mpsc::Sender<()>>,
    /// The newest key of each writer, and how many there were.
    newest: Vec<Option<Tid>>,
    counts: Vec<u64>,
    delays: Latencies,
    deliveries: u64,
}

impl View {
    fn new(writers: Arc<HashMap<String, usize>>, live: mpsc::Sender<()>) -> Self {
        let (newest, counts) = (vec![None; writers.len()], vec![0; writers.len()]);
        Self { writers, live: Some(live), newest, counts, delays: Latencies::default(), deliveries: 0 }
    }

    /// Looks at events until the last probe.
    async fn follow(mut self, mut subscription: Subscription) -> Result<Self> {
        loop {
            let event = subscription.next().await?;
            let arrived = now_micros();
            let Some((repo, path)) = event.first_write() else { continue };
            let Some(writer) = self.writers.get(repo).copied() else { continue };
            let Some(tid) = path.rsplit('/').next().and_then(|rkey| rkey.parse::<Tid>().ok()) else { continue };
            match tid.clock_id() {
                FIRST_PROBE => self.live = None,
                LAST_PROBE => return Ok(self),
                _ => self.note(writer, tid, arrived)?,
            }
        }
    }

    fn note(&mut self, writer: usize, tid: Tid, arrived: u64) -> Result<()> {
        // Each write began when the one before it was acknowledged.
        ensure!(self.newest[writer] < Some(tid), "a write is seen twice, or after a later one of its repository");
        self.newest[writer] = Some(tid);
        self.counts[writer] += 1;
        if tid.clock_id() >= MEASURED {
            self.delays.add(Duration::from_micros(arrived.saturating_sub(tid.to_micros())));
            self.deliveries += 1;
        }
        Ok(())
    }
}

/// The time in microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the benchmark's own clock")]
fn now_micros() -> u64 {
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
