//! Everything together: servers, and replicas of the api on one database.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::{join_all, select_all};
use serde::Serialize;
use tokio::time::Instant;

use super::data::DataFolder;
use super::mail::{Arrivals, MailCatcher};
use super::plc::PlcDirectory;
use super::port;
use super::postgres::{Durability, Postgres};
use super::process::Server;
use super::programs::{Programs, Settings};
use super::redis::Redis;

/// The database of the programs.
const DATABASE: &str = "pds";
/// What is the same in every stack: easy to sign up to, and with nothing beyond this machine.
const SETTINGS: [(&str, &str); 9] = [
    ("LOG_ENABLED", "true"),
    ("LOG_FORMAT", "text"),
    ("PDS_DEV_MODE", "true"),
    ("PDS_DRAIN_DELAY_MS", "0"),
    ("PDS_EMAIL_FROM_ADDRESS", "rookery@localhost"),
    ("PDS_HOSTNAME", "localhost"),
    ("PDS_INVITE_REQUIRED", "false"),
    ("PDS_MAX_REPO_IMPORT_SIZE", "268435456"),
    ("PDS_SERVICE_HANDLE_DOMAINS", ".test"),
];
/// A process has the time it gives itself to finish requests or work, and a little more.
const GRACE: Duration = Duration::from_secs(15);
/// A process that ends sooner than this after its start will not live longer the next time.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Debug)]
pub struct Options {
    /// The folder that keeps the state.
    pub data: DataFolder,
    /// Replicas of the api.
    pub replicas: u16,
    /// The first replica's port, the others take the next ones; `None` takes free ports.
    pub port: Option<u16>,
    /// The address the api listens on.
    pub bind: String,
    /// Whether the database survives a crash of the machine.
    pub durability: Durability,
    /// Use this PLC directory instead of one of our own.
    pub plc_url: Option<String>,
    /// What the replicas are told besides; it does not replace what the stack sets.
    pub settings: Settings,
}

/// A running stack. Dropping it tells every process to stop, without order; [`Stack::stop`] does it properly.
#[derive(Debug)]
pub struct Stack {
    replicas: Vec<Process>,
    worker: Option<Process>,
    programs: Programs,
    settings: Settings,
    plc: Plc,
    mail: MailCatcher,
    redis: Redis,
    postgres: Postgres,
    data: DataFolder,
}

/// The PLC directory in use.
#[derive(Debug)]
enum Plc {
    Own(PlcDirectory),
    Foreign(String),
}

impl Plc {
    fn url(&self) -> String {
        match self {
            Self::Own(directory) => directory.url(),
            Self::Foreign(url) => url.clone(),
        }
    }
}

/// One process of the api, or the worker.
#[derive(Debug)]
struct Process {
    server: Server,
    /// The port of the api; the worker has none.
    port: u16,
    metrics: u16,
    started: Instant,
}

/// Where everything is. As JSON it is what `stack run --json` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The replicas' origins.
    pub pds: Vec<String>,
    /// Where the replicas, and last the worker, have their metrics.
    pub metrics: Vec<String>,
    /// The PLC directory's origin.
    pub plc: String,
    /// The mail server's URL.
    pub smtp: String,
    /// The folder in which mails arrive as `.eml` files.
    pub mail: PathBuf,
    /// The database of the programs, with a role that may do anything.
    pub database: String,
    /// Redis.
    pub redis: String,
    /// The password of the user `admin`.
    pub admin_password: String,
    /// The data folder.
    pub data: PathBuf,
}

impl Stack {
    /// Starts everything, the database brought up to date, and waits until all of it answers.
    ///
    /// # Errors
    /// A server does not start; those that did are told to stop.
    pub async fn start(options: Options) -> Result<Self> {
        let Options { data, replicas, port, bind, durability, plc_url, mut settings } = options;
        let programs = Programs::built()?;
        let ports = match port {
            Some(first) => (0..replicas).map(|index| first.saturating_add(index)).collect(),
            None => port::free(replicas)?,
        };
        ports.iter().try_for_each(|port| port::ensure_free(*port))?;
        let postgres = Postgres::start(data.postgres(), &data.log("postgres"), durability).await?;
        postgres.ensure_database(DATABASE).await?;
        programs.migrate(&postgres.url(DATABASE)).await?;
        let redis = Redis::start(&data.redis(), &data.log("redis")).await?;
        let mail = MailCatcher::start(&data.mail()).await?;
        let plc = match plc_url {
            Some(url) => Plc::Foreign(url),
            None => Plc::Own(PlcDirectory::start(&data.plc()).await?),
        };
        settings.extend(data.secrets()?);
        let mut stack =
            Self { replicas: Vec::new(), worker: None, programs, settings, plc, mail, redis, postgres, data };
        stack.add_settings(bind);
        for (index, port) in ports.into_iter().enumerate() {
            let replica = stack.start_replica(index, port).await?;
            stack.replicas.push(replica);
        }
        stack.worker = Some(stack.start_worker().await?);
        Ok(stack)
    }

    /// What all replicas are told besides the secrets. `PDS_REPLICAS` is left out: it would rule out blobs in a folder,
    /// which is right for several machines, but these replicas share one.
    fn add_settings(&mut self, bind: String) {
        let own = [
            ("PDS_BIND", bind),
            ("PDS_BLOBSTORE_DISK_LOCATION", self.data.blobs().to_string_lossy().into_owned()),
            ("PDS_DATABASE_URL", self.postgres.url(DATABASE)),
            ("PDS_DID_PLC_URL", self.plc.url()),
            ("PDS_EMAIL_SMTP_URL", self.mail.url()),
            ("PDS_REDIS_SCRATCH_ADDRESS", self.redis.address()),
            ("PDS_REDIS_SCRATCH_PASSWORD", self.redis.password().to_owned()),
        ];
        let fixed = SETTINGS.map(|(name, value)| (name, value.to_owned()));
        self.settings.extend(fixed.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)));
    }

    /// Where everything is.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints {
            pds: self.replicas.iter().map(|replica| format!("http://localhost:{}", replica.port)).collect(),
            metrics: self.ours().map(|process| format!("http://localhost:{}/metrics", process.metrics)).collect(),
            plc: self.plc.url(),
            smtp: self.mail.url(),
            mail: self.mail.folder().to_owned(),
            database: self.postgres.url(DATABASE),
            redis: self.redis.url(),
            admin_password: self.settings["PDS_ADMIN_PASSWORD"].clone(),
            data: self.data.root().to_owned(),
        }
    }

    /// The programs that run now, by name, with their process ids: `api` for each replica, `worker`, `postgres`, `redis`.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let replicas = self.replicas.iter().map(|replica| ("api", &replica.server));
        let worker = self.worker.iter().map(|worker| ("worker", &worker.server));
        let servers = [("postgres", self.postgres.server()), ("redis", self.redis.server())];
        let running =
            replicas.chain(worker).chain(servers).filter_map(|(name, server)| Some((name.to_owned(), server.pid()?)));
        running.collect()
    }

    /// Runs SQL in the database of the programs, as one transaction.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn run_sql(&self, sql: &str) -> Result<()> {
        self.postgres.query(DATABASE, sql).await.map(drop)
    }

    /// The mails that the programs send from now on.
    pub fn mails(&self) -> Arrivals {
        self.mail.arrivals()
    }

    /// The data folder.
    pub fn data(&self) -> &DataFolder {
        &self.data
    }

    /// Starts replicas, and the worker, again that end by themselves, as an orchestrator would, and calls `notice` with what
    /// happened.
    ///
    /// # Errors
    /// Returns only when the stack cannot go on: a server ended, or one of our own does not stay alive.
    pub async fn keep_alive(&mut self, notice: impl Fn(&str)) -> Result<()> {
        loop {
            let processes = self.replicas.iter_mut().chain(&mut self.worker);
            let processes = processes.map(|process| Box::pin(process.server.ended()));
            let (status, index) = tokio::select! {
                status = self.postgres.server_mut().ended() => bail!("Postgres ended ({})", status?),
                status = self.redis.server_mut().ended() => bail!("Redis ended ({})", status?),
                (status, index, _) = select_all(processes) => (status?, index),
            };
            let Some(process) = self.ours().nth(index) else { continue };
            if process.started.elapsed() < SHORTEST_LIFE {
                bail!("{} ended ({status}):\n{}", process.server.name(), process.server.log_tail());
            }
            notice(&format!("{} ended ({status}); starting it again", process.server.name()));
            if index < self.replicas.len() {
                self.replicas[index] = self.start_replica(index, process.port).await?;
            } else {
                self.worker = Some(self.start_worker().await?);
            }
        }
    }

    /// Stops the replicas and the worker, then what they need.
    ///
    /// # Errors
    /// A process can be neither stopped nor killed.
    pub async fn stop(self) -> Result<()> {
        let processes = self.replicas.into_iter().chain(self.worker);
        let stopping = processes.map(|process| process.server.stop(GRACE));
        join_all(stopping).await.into_iter().collect::<Result<()>>()?;
        self.redis.stop().await?;
        self.postgres.stop().await
    }

    /// Replicas and worker.
    fn ours(&self) -> impl Iterator<Item = &Process> {
        self.replicas.iter().chain(&self.worker)
    }

    async fn start_worker(&self) -> Result<Process> {
        let metrics = port::free(1)?[0];
        let server = self.programs.start_worker("worker", metrics, &self.settings, &self.data.log("worker")).await?;
        Ok(Process { server, port: 0, metrics, started: Instant::now() })
    }

    async fn start_replica(&self, index: usize, port: u16) -> Result<Process> {
        let name = format!("api-{}", index + 1);
        // All replicas are one service: its URL is that of the first one, on whatever port each listens.
        let public_port = self.replicas.first().map_or(port, |first| first.port);
        let mut settings = self.settings.clone();
        settings.insert("PDS_LISTEN_PORT".to_owned(), port.to_string());
        settings.insert("PDS_PORT".to_owned(), public_port.to_string());
        let metrics = port::free(1)?[0];
        settings.insert("PDS_METRICS_PORT".to_owned(), metrics.to_string());
        let server = self.programs.start_api(&name, port, &settings, &self.data.log(&name)).await?;
        Ok(Process { server, port, metrics, started: Instant::now() })
    }
}
