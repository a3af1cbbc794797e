//! `pds-worker run`: the background work, until SIGTERM or SIGINT.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use common::account::Accounts;
use common::blob::{BlobChecker, CheckError, Objects};
use common::clock::Clock;
use common::config::{BlobstoreConfig, Config};
use common::db::{self, PgPool, PoolSettings, SchemaError};
use common::lifecycle::{Announcements, DeletedAccounts};
use common::relay::Relays;
use common::repo::ImportLeftovers;
use common::sequencer::Sequencer;
use common::session::Sessions;
use common::telemetry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::jobs;
use crate::mail::Mailer;
use crate::relay::RelayClient;
use crate::runner::{Context, Monitor, Runner};
use crate::services;

/// How long work waits for a database connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Works until SIGTERM or SIGINT, then finishes what runs within `PDS_SHUTDOWN_GRACE_MS`.
///
/// Takes the settings of the servers. A database that does not answer is waited for.
///
/// # Errors
/// If the settings are bad, the schema is too old, or the blob store or the metrics port cannot be used.
pub async fn run() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    telemetry::init(&config.log).context("cannot start logging")?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let clock = Clock::system();
    let mailer = Mailer::new(&config.mail(), clock.clone())?;
    if let Some(warning) = mailer.warning() {
        tracing::warn!("{warning}");
    }
    let stop = stop_on_signal().context("cannot listen for signals")?;
    let database = connect(&config).await?;
    let sequencer = Sequencer::new(&database);
    let grace = config.deployment.shutdown_grace;
    let listener = match config.deployment.metrics_port {
        Some(port) => Some(bind(config.deployment.bind, port).await.context("cannot use PDS_METRICS_PORT")?),
        None => None,
    };
    let objects = Objects::from_config(&config.blobstore);
    check(&objects, &config.blobstore).await?;
    let context = Context {
        lifecycle: services::lifecycle(&config, &clock, &database)?,
        blob_collector: services::blob_collector(&config, &objects, &database),
        blob_checker: BlobChecker::new(database.clone(), objects.clone()),
        blob_checks: Arc::default(),
        blobs: services::blobs(objects, &database),
        sessions: Sessions::new(database.clone(), clock.clone()),
        deleted_accounts: DeletedAccounts::new(&database),
        announcements: Announcements::new(database.clone(), clock.clone()),
        relays: Relays::new(database.clone()),
        relay_client: RelayClient::new(&config.service.hostname)?,
        config: Arc::new(config),
        accounts: Accounts::new(database.clone()),
        mailer,
        clock,
        sequencer: sequencer.clone(),
        import_leftovers: ImportLeftovers::new(&database),
    };
    let runner = Runner::new(name(), context, &database, jobs::all());
    let monitor = runner.monitor();
    tracing::info!(name = name(), "working");
    tokio::select! {
        () = runner.run(stop, grace) => {}
        broken = answer(monitor, listener) => broken.context("the metrics listener broke")?,
    }
    let closing = async { tokio::join!(sequencer.close(), database.close()) };
    // What does not close in time is closed by the end of the process.
    let _ = timeout(CLOSE_LIMIT, closing).await;
    Ok(())
}

async fn connect(config: &Config) -> anyhow::Result<PgPool> {
    let settings = PoolSettings {
        url: config.database.url.clone(),
        max_connections: config.database.pool_size,
        acquire_timeout: ACQUIRE_TIMEOUT,
    };
    let database = db::connect(&settings, "pds-worker").context("cannot use the database")?;
    match db::check_schema(&database).await {
        Err(error @ SchemaError::TooOld { .. }) => Err(error.into()),
        Err(SchemaError::Storage(error)) => {
            tracing::warn!(%error, "the database does not answer; waiting for it");
            Ok(database)
        }
        Ok(()) => Ok(database),
    }
}

/// Whether the store can be used. One that does not answer may yet; and a worker puts no uploads beside a bucket.
async fn check(objects: &Objects, store: &BlobstoreConfig) -> anyhow::Result<()> {
    match objects.check().await {
        Err(error @ CheckError::Folder { .. }) if matches!(store, BlobstoreConfig::S3(_)) => {
            tracing::warn!(%error, "blobs could not be uploaded from here; working all the same");
            Ok(())
        }
        Err(CheckError::Unknown(error)) => {
            tracing::warn!(%error, "the blob store cannot be looked at; working all the same");
            Ok(())
        }
        checked => checked.context("cannot use the blob store"),
    }
}

/// Host and process, for people.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}

/// Fires on SIGTERM or SIGINT.
fn stop_on_signal() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let fired = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        fired.cancel();
    });
    Ok(stop)
}

/// Every address of both families unless one is configured; version 4 only where the machine has no version 6.
async fn bind(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match address {
        Some(address) => TcpListener::bind((address, port)).await,
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            bound => bound,
        },
    }
}

/// Answers scrapes, if they are wanted.
async fn answer(monitor: Monitor, listener: Option<TcpListener>) -> io::Result<()> {
    match listener {
        Some(listener) => monitor.serve(listener).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_cannot_be_used_stops_a_worker() {
        let folder = tempfile::tempdir().unwrap();
        let checked = async |name: &str| {
            let store = BlobstoreConfig::on_disk(folder.path().join(name));
            check(&Objects::from_config(&store), &store).await
        };
        checked("blobs").await.unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        checked("file").await.unwrap_err();
    }
}
