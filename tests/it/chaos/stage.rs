//! The servers under fire, started for one run and visible to nobody else.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use common::testing::FakePlc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::stack::{DataFolder, Durability, Postgres, Redis, Server};
use tokio::time::{sleep, timeout};

use super::store;
use crate::harness::processes::Processes;

/// Replicas of the api.
pub(super) const REPLICAS: usize = 3;
/// The replicas' database.
const DATABASE: &str = "pds";
/// How long a condition of the servers may take to come true.
const LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long a replica may take to stop when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Settings of the replicas. Few connections, so that they run out; a short buffer, so that slow consumers are found soon;
/// limits that are counted, but that nobody reaches.
const SETTINGS: [(&str, &str); 5] = [
    ("LOG_ENABLED", "true"),
    ("PDS_DATABASE_POOL_SIZE", "5"),
    ("PDS_MAX_SUBSCRIPTION_BUFFER", "40"),
    ("PDS_RATE_LIMITS_ENABLED", "true"),
    ("PDS_RATE_LIMIT_POINTS", "global=4000000000,get-repo-5min=4000000000,repo-write-hour=0,repo-write-day=4000000000"),
];

/// Postgres, Redis, a directory and the replicas.
pub(super) struct Stage {
    /// The replicas, whether they run or not.
    pub(super) processes: Processes,
    /// The directory of identities.
    pub(super) plc: FakePlc,
    /// Postgres.
    pub(super) postgres: Postgres,
    redis: Redis,
    servers: Vec<Option<Server>>,
    folder: DataFolder,
}

impl Stage {
    /// Starts everything. The files stay where they are until [`Stage::clear`].
    pub(super) async fn start(durability: Durability) -> Result<Self> {
        let mut folder = DataFolder::temporary()?;
        folder.keep();
        let logs = folder.log("x").parent().context("logs are in a folder")?.to_owned();
        let postgres = Postgres::start(folder.postgres(), &folder.log("postgres"), durability).await?;
        postgres.ensure_database(DATABASE).await?;
        let redis = Redis::start(&folder.redis(), &folder.log("redis")).await?;
        let plc = FakePlc::start().await;
        let count = u16::try_from(REPLICAS)?;
        let mut processes = Processes::new(count, postgres.url(DATABASE), &plc, &logs)?;
        for (name, value) in SETTINGS {
            processes.set(name, value);
        }
        processes.set("PDS_REDIS_SCRATCH_ADDRESS", redis.address());
        processes.set("PDS_REDIS_SCRATCH_PASSWORD", redis.password());
        processes.migrate().await?;
        let servers = (0..REPLICAS).map(|_| None).collect();
        let mut stage = Self { processes, plc, postgres, redis, servers, folder };
        for index in 0..REPLICAS {
            stage.start_replica(index).await?;
        }
        Ok(stage)
    }

    /// Where the logs are.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.root().join("log")
    }

    /// Where the replicas are.
    pub(super) fn origins(&self) -> Vec<String> {
        (0..REPLICAS).map(|index| self.processes.origin(index)).collect()
    }

    /// Stops everything and removes the files.
    pub(super) async fn clear(mut self) -> Result<()> {
        for index in 0..REPLICAS {
            self.stop_replica(index).await?;
        }
        self.postgres.stop().await?;
        self.redis.stop().await?;
        let root = self.folder.root().to_owned();
        drop(self.folder);
        DataFolder::remove(&root)
    }

    /// Starts a replica that does not run.
    pub(super) async fn start_replica(&mut self, index: usize) -> Result<()> {
        self.servers[index] = Some(self.processes.start(index).await?);
        Ok(())
    }

    /// Stops a replica as an orchestrator does.
    pub(super) async fn stop_replica(&mut self, index: usize) -> Result<()> {
        match self.servers[index].take() {
            Some(server) => server.stop(STOP_LIMIT).await,
            None => Ok(()),
        }
    }

    /// Kills a replica.
    pub(super) async fn kill_replica(&mut self, index: usize) -> Result<()> {
        self.signal(index, Signal::SIGKILL);
        if let Some(mut server) = self.servers[index].take() {
            server.ended().await?;
        }
        Ok(())
    }

    /// Sends a signal to a replica.
    pub(super) fn signal(&self, index: usize, signal: Signal) {
        if let Some(server) = &self.servers[index] {
            server.signal(signal);
        }
    }

    /// Kills Redis; another one takes its place.
    pub(super) async fn replace_redis(&mut self) -> Result<()> {
        self.redis.replace().await
    }

    /// Stops Postgres and all its processes in their tracks, or lets them go on.
    pub(super) fn signal_postgres(&mut self, signal: Signal) -> Result<()> {
        let postmaster = i32::try_from(self.postgres.server_mut().pid().context("Postgres runs")?)?;
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in [postmaster].into_iter().chain(children) {
            // One that has just ended cannot be stopped.
            let _ = kill(Pid::from_raw(pid), signal);
        }
        Ok(())
    }

    /// The memory that each replica occupies, in bytes; 0 if it does not run.
    pub(super) fn memory(&self) -> [u64; REPLICAS] {
        let mut memory = [0; REPLICAS];
        for (server, memory) in self.servers.iter().zip(&mut memory) {
            *memory = server.as_ref().and_then(Server::pid).and_then(resident).unwrap_or_default();
        }
        memory
    }

    /// Runs SQL as the saboteur.
    pub(super) async fn query(&self, sql: &str) -> Result<String> {
        self.postgres.query(DATABASE, sql).await.map(|rows| rows.trim().to_owned())
    }

    /// Takes a lock, and keeps it until [`Stage::let_go`].
    pub(super) async fn hold(&self, lock: &str) -> Result<Server> {
        let session = self.postgres.begin(DATABASE, lock, &self.folder.log("saboteur"))?;
        self.until(&store::holds(), |held| held == "t").await?;
        Ok(session)
    }

    /// Lets go of a lock.
    pub(super) async fn let_go(&self, mut session: Server) -> Result<()> {
        self.query(&store::let_go()).await?;
        session.ended().await.map(drop)
    }

    /// Waits until Postgres takes queries.
    pub(super) async fn until_postgres_answers(&self) -> Result<()> {
        let look = async {
            while self.query(store::newest()).await.is_err() {
                sleep(POLL).await;
            }
        };
        timeout(LIMIT, look).await.context("Postgres does not come back")
    }

    /// Waits until a query gives what is wanted.
    pub(super) async fn until(&self, sql: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let look = async {
            while !wanted(&self.query(sql).await?) {
                sleep(POLL).await;
            }
            anyhow::Ok(())
        };
        timeout(LIMIT, look).await.with_context(|| format!("waiting for: {sql}"))?
    }
}

/// Bytes of memory that a process occupies.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}
