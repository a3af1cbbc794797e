//! Rookery under fire: three replicas, writers on all of them, consumers that verify everything, and whatever can go wrong.
//!
//! The servers are this test's own. `CHAOS_SEED` repeats a run, as far as the order of what happens at the same time can be
//! repeated: faults, their details and what the writers write are the same.

mod exporter;
mod fault;
mod follower;
mod inflict;
mod journal;
mod report;
mod stage;
mod store;
mod traffic;
mod verdict;
mod writer;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use tests::stack::Durability;
use tokio::time::{Instant, sleep, timeout};

use self::fault::Fault;
use self::inflict::Cast;
use self::journal::Journal;
use self::report::{Blow, failed_share};
use self::stage::{REPLICAS, Stage};
use self::traffic::Traffic;
use self::verdict::Histories;
use self::writer::{PATIENCE, Writer};
use crate::harness::account::Account;
use crate::harness::client::Client;

/// Repos that several writers share, and writers of each.
const SHARED: usize = 2;
const WRITERS: usize = 5;
/// Writes between two faults, so that each meets a server at work.
const CALM: usize = 40;
/// How long a replica may take to recover before it counts as stuck.
const STUCK: Duration = Duration::from_secs(90);
/// Share of writes that may fail, with one retry, while a replica is in trouble.
const MAX_FAILED: f64 = 0.005;

/// What a run is made of, and what it must keep to.
struct Form {
    /// Repos with one writer each.
    repos: usize,
    /// What happens, by the seed.
    faults: fn(u64) -> Vec<Fault>,
    durability: Durability,
    /// From the end of a fault until each replica writes again.
    recovery: Duration,
    /// Memory of a replica, in bytes.
    memory: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_survives_a_few_faults() {
    // The machine is busy with other tests: how long something takes says little.
    let (faults, recovery) = (fault::few, STUCK);
    run(&Form { repos: 4, faults, durability: Durability::Memory, recovery, memory: 512 << 20 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, and a machine of its own: `make chaos`"]
async fn everything_acknowledged_survives_all_faults() {
    let (faults, recovery) = (fault::all, Duration::from_secs(5));
    run(&Form { repos: 9, faults, durability: Durability::Full, recovery, memory: 256 << 20 }).await;
}

/// One run; says what it measured, and where the logs are if something is wrong.
async fn run(form: &Form) {
    let (seed, begun) = (seed(), Instant::now());
    let stage = Stage::start(form.durability).await.unwrap();
    let logs = stage.logs();
    say(&format!("seed {seed}, logs in {}", logs.display()));
    let mut blows = Vec::new();
    let outcome = fight(stage, form, seed, &mut blows).await;
    for blow in &blows {
        say(&blow.to_string());
    }
    if let Err(error) = outcome {
        panic!("CHAOS_SEED={seed}, logs in {}: {error:#}", logs.display());
    }
    let (failed, seconds) = (failed_share(&blows) * 100.0, begun.elapsed().as_secs());
    say(&format!("{failed:.2} % of writes failed with one retry while a replica was in trouble; {seconds} s in all"));
}

#[expect(clippy::disallowed_methods, reason = "a setting of this test, not of the server")]
fn seed() -> u64 {
    match std::env::var("CHAOS_SEED") {
        Ok(text) => text.parse().expect("CHAOS_SEED is a number"),
        Err(_) => rand::random(),
    }
}

/// Runs everything, and checks it.
async fn fight(mut stage: Stage, form: &Form, seed: u64, blows: &mut Vec<Blow>) -> Result<()> {
    let journal = Arc::new(Journal::default());
    let Crew { accounts, writers, shared, mut flooder, mut probes } =
        Crew::sign_up(&stage, form.repos, &journal, seed).await?;
    let mut traffic = Traffic::start(&stage, writers, &accounts, seed);
    let mut slow = Vec::new();
    for fault in (form.faults)(seed) {
        traffic.goes_on(journal.progress(), CALM).await?;
        let mut cast = Cast { journal: &journal, shared: &shared.did, flooder: &mut flooder, slow: &mut slow };
        let begun = Instant::now();
        let over = stage.inflict(fault, &mut cast).await.with_context(|| fault.to_string())?;
        let recovery = recover(&stage, &mut probes, over).await.with_context(|| fault.to_string())?;
        let figures = journal.figures(begun, Instant::now());
        blows.push(Blow { fault, time: over - begun, recovery, figures, memory: stage.memory() });
    }
    let (mut writers, exports) = traffic.stop().await?;
    writers.push(flooder);
    writers.extend(probes);
    // Requests that their clients gave up may still be under way; a replica that stops finishes them.
    for replica in 0..REPLICAS {
        stage.stop_replica(replica).await?;
        stage.start_replica(replica).await?;
    }

    let settled = Instant::now();
    let tapes = traffic.tapes(stage.query(store::newest()).await?.parse()?).await?;
    verdict::pass(&stage, &histories(writers), &tapes, &slow).await?;
    let connections: usize = tapes.iter().map(|tape| tape.connections).sum();
    let (acknowledged, events, seconds) =
        (journal.progress().done(), tapes[0].events.len(), settled.elapsed().as_secs());
    say(&format!("{acknowledged} writes, {exports} exports, {events} events over {connections} connections"));
    say(&format!("all checked in {seconds} s"));
    within(form, blows)?;
    stage.clear().await
}

/// Waits until every replica is ready and writes again; gives the time each took.
async fn recover(stage: &Stage, probes: &mut [Writer], over: Instant) -> Result<[Duration; REPLICAS]> {
    let mut recovery = [Duration::ZERO; REPLICAS];
    let writes = probes.iter_mut().zip(&mut recovery).map(|(probe, time)| async move {
        probe.create("").await?;
        *time = over.elapsed();
        anyhow::Ok(())
    });
    timeout(STUCK, try_join_all(writes)).await.context("a replica is stuck")??;
    let ready = (0..REPLICAS).map(|replica| async move {
        let client = Client::with_patience(stage.processes.origin(replica), PATIENCE);
        while !client.is_ready().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    timeout(STUCK, join_all(ready)).await.context("a replica writes but is not ready")?;
    Ok(recovery)
}

/// Everybody who writes.
struct Crew {
    accounts: Vec<Account>,
    writers: Vec<Writer>,
    shared: Account,
    flooder: Writer,
    probes: Vec<Writer>,
}

impl Crew {
    async fn sign_up(stage: &Stage, repos: usize, journal: &Arc<Journal>, seed: u64) -> Result<Self> {
        let origins = stage.origins();
        let mut count = 0;
        let mut writer = |account: &Account, origins: &[String]| {
            count += 1;
            let name = format!("w{count:02}");
            Writer::new(name, account.clone(), origins, Arc::clone(journal), seed.wrapping_add(count))
        };
        let names = (0..=repos + SHARED + REPLICAS).map(|number| format!("user{number}.test"));
        let sign_ups = names.enumerate().map(|(number, handle)| {
            let client = stage.processes.client(number % REPLICAS);
            async move { Account::create(&client, &handle).await }
        });
        let accounts = try_join_all(sign_ups).await?;
        let (single, rest) = accounts.split_at(repos);
        let (shared, rest) = rest.split_at(SHARED);
        let mut writers: Vec<Writer> = single.iter().map(|account| writer(account, &origins)).collect();
        for account in shared {
            writers.extend((0..WRITERS).map(|_| writer(account, &origins).shared()));
        }
        let flooder = writer(&rest[0], &origins);
        let probes = rest[1..]
            .iter()
            .zip(&origins)
            .map(|(account, origin)| writer(account, std::slice::from_ref(origin)))
            .collect();
        let shared = shared[0].clone();
        Ok(Self { accounts, writers, shared, flooder, probes })
    }
}

/// What was done to each repo, by all its writers.
fn histories(crew: Vec<Writer>) -> Histories {
    let mut histories = Histories::new();
    for writer in crew {
        let (account, mut history) = writer.into_history();
        // Writers of one repo write different records.
        histories
            .entry(account.did.clone())
            .or_insert_with(|| (account, journal::History::new()))
            .1
            .append(&mut history);
    }
    histories
}

/// Checks what was measured.
fn within(form: &Form, blows: &[Blow]) -> Result<()> {
    for blow in blows {
        ensure!(blow.slowest_recovery() <= form.recovery, "a replica recovers too slowly: {blow}");
        ensure!(blow.memory.iter().all(|bytes| *bytes <= form.memory), "a replica takes too much memory: {blow}");
    }
    ensure!(failed_share(blows) <= MAX_FAILED, "too many writes fail while a replica is in trouble");
    Ok(())
}

/// Tells whoever watches the run.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
