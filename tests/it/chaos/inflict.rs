//! Carries faults out.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use atproto::syntax::Did;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::stack::Server;
use tokio::time::{Instant, sleep, timeout};

use super::fault::Fault;
use super::follower::is_too_slow;
use super::journal::Journal;
use super::stage::Stage;
use super::store;
use super::writer::Writer;
use crate::harness::consumer::{Consumer, Received};

/// Writes that go through before a replica that was killed is started again.
const MEANWHILE: usize = 20;
/// How long they may take.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Rounds of breaking connections and cancelling statements, and the time between two.
const ROUNDS: u32 = 6;
const ROUND: Duration = Duration::from_millis(200);
/// What a slow consumer does not read: records of this size, more than sockets buffer on the way.
const BALLAST: usize = 700_000;
const FLOOD: usize = 12;
/// How long a consumer is slow: longer than the server puts up with.
const SLOWNESS: Duration = Duration::from_secs(8);
/// How long what was sent to it may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(40);

/// Who a fault needs besides the servers.
pub(super) struct Cast<'a> {
    /// What the writers have done.
    pub(super) journal: &'a Journal,
    /// A repo that several writers share.
    pub(super) shared: &'a Did,
    /// Writes much at once.
    pub(super) flooder: &'a mut Writer,
    /// What slow consumers have seen before they were sent away.
    pub(super) slow: &'a mut Vec<Vec<Received>>,
}

impl Stage {
    /// Lets a fault happen and waits until it is over; gives the moment since which nothing stands in the way any more.
    pub(super) async fn inflict(&mut self, fault: Fault, cast: &mut Cast<'_>) -> Result<Instant> {
        match fault {
            Fault::KillReplica(replica) => {
                self.kill_replica(replica).await?;
                go_on(cast.journal).await?;
                self.start_replica(replica).await?;
            }
            Fault::KillInCommit(replica) => {
                let holder = self.stop_commits().await?;
                self.kill_replica(replica).await?;
                self.let_go(holder).await?;
                go_on(cast.journal).await?;
                self.start_replica(replica).await?;
            }
            Fault::PauseReplica(replica, time) => {
                self.signal(replica, Signal::SIGSTOP);
                sleep(time).await;
                self.signal(replica, Signal::SIGCONT);
            }
            Fault::PauseInCommit(replica, time) => {
                let holder = self.stop_commits().await?;
                self.signal(replica, Signal::SIGSTOP);
                self.let_go(holder).await?;
                sleep(time).await;
                self.signal(replica, Signal::SIGCONT);
            }
            Fault::PauseAndBreak(replica, time) => {
                let holder = self.stop_commits().await?;
                self.signal(replica, Signal::SIGSTOP);
                self.query(&store::break_connections()).await?;
                self.let_go(holder).await?;
                sleep(time).await;
                self.signal(replica, Signal::SIGCONT);
            }
            Fault::RestartReplica(replica) => {
                self.stop_replica(replica).await?;
                self.start_replica(replica).await?;
            }
            Fault::BreakConnections => self.again_and_again(&store::break_connections()).await?,
            Fault::CancelStatements => self.again_and_again(&store::cancel_statements()).await?,
            Fault::KillRedis => self.replace_redis().await?,
            Fault::SlowConsumer(replica) => self.be_slow(replica, cast).await?,
            Fault::LockRepo(time) => self.hold_for(&store::hold_repo(cast.shared), time).await?,
            Fault::LockSequencer(time) => self.hold_for(&store::hold_sequencer(), time).await?,
            Fault::LockRecords(time) => self.hold_for(&store::hold_records(), time).await?,
            Fault::CrashPostgres(_)
            | Fault::CrashInCommit
            | Fault::StopPostgres(_)
            | Fault::KillBackend
            | Fault::FreezePostgres(_)
            | Fault::KillWithoutPostgres(_) => self.strike_postgres(fault).await?,
        }
        Ok(Instant::now())
    }

    async fn strike_postgres(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::CrashPostgres(time) => {
                self.postgres.end(Signal::SIGQUIT).await?;
                sleep(time).await;
                self.postgres.start_again().await
            }
            Fault::CrashInCommit => {
                let mut holder = self.stop_commits().await?;
                self.postgres.end(Signal::SIGQUIT).await?;
                holder.ended().await?;
                self.postgres.start_again().await
            }
            Fault::StopPostgres(time) => {
                self.postgres.end(Signal::SIGINT).await?;
                sleep(time).await;
                self.postgres.start_again().await
            }
            Fault::KillWithoutPostgres(replica) => {
                self.postgres.end(Signal::SIGQUIT).await?;
                self.kill_replica(replica).await?;
                self.postgres.start_again().await?;
                self.start_replica(replica).await
            }
            Fault::FreezePostgres(time) => {
                self.signal_postgres(Signal::SIGSTOP)?;
                sleep(time).await;
                self.signal_postgres(Signal::SIGCONT)
            }
            _ => {
                let mut witness = self.hold(&store::hold_nothing()).await?;
                let pid: i32 = self.query(&store::some_backend()).await?.parse().context("some backend")?;
                kill(Pid::from_raw(pid), Signal::SIGKILL)?;
                // Postgres ends all sessions before it recovers, and takes new ones when it has.
                witness.ended().await?;
                self.until_postgres_answers().await
            }
        }
    }

    /// Makes every commit wait in Postgres at its last step. Goes on when some do.
    async fn stop_commits(&self) -> Result<Server> {
        let holder = self.hold(&store::hold_sequencer()).await?;
        self.until(&store::waiting(), |waiting| waiting.parse().is_ok_and(|waiting: usize| waiting > 1)).await?;
        Ok(holder)
    }

    async fn hold_for(&self, lock: &str, time: Duration) -> Result<()> {
        let holder = self.hold(lock).await?;
        sleep(time).await;
        self.let_go(holder).await
    }

    async fn again_and_again(&self, sql: &str) -> Result<()> {
        for _ in 0..ROUNDS {
            self.query(sql).await?;
            sleep(ROUND).await;
        }
        Ok(())
    }

    /// A consumer that has caught up reads no more, and is sent away for it.
    async fn be_slow(&self, replica: usize, cast: &mut Cast<'_>) -> Result<()> {
        let newest: i64 = self.query(store::newest()).await?.parse()?;
        let mut consumer = Consumer::connect_narrowly(&self.processes.origin(replica), Some(newest)).await?;
        let first = consumer.next(STANDSTILL).await?;
        let ballast = "x".repeat(BALLAST);
        for _ in 0..FLOOD {
            cast.flooder.create(&ballast).await?;
        }
        sleep(SLOWNESS).await;
        let (rest, end) = consumer.rest(ARRIVAL).await;
        ensure!(is_too_slow(&end), "a slow consumer is not sent away after {} events: {end:#}", rest.len());
        cast.slow.push([vec![first], rest].concat());
        Ok(())
    }
}

/// Waits until some writes went through.
async fn go_on(journal: &Journal) -> Result<()> {
    let progress = journal.progress();
    let enough = progress.reaches(progress.done() + MEANWHILE);
    timeout(STANDSTILL, enough).await.context("the writers stand still")
}
