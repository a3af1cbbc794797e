//! `pds-api`: answers HTTP until it is told to stop, or cannot go on. Then it ends, so that it is started again.

use anyhow::Context as _;
use api::{Overrides, Pds};
use clap::Parser;
use common::{config::Config, telemetry};
use mimalloc::MiMalloc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// A request is many small pieces of memory, freed on another thread than they were taken on.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The HTTP server of Rookery, a Personal Data Server of the AT Protocol.
///
/// It is configured by environment variables only, under the names that the reference server gave them.
#[derive(Parser)]
#[command(version)]
struct Arguments {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Arguments::parse();
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = Config::from_env()?;
    telemetry::init(&config.log).context("cannot start logging")?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Err(error) = raise_file_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let mut pds = Pds::create(config, Overrides::default()).await?;
    pds.start();
    tracing::info!(address = %pds.local_addr(), public_url = pds.ctx().config.public_url(), "listening");
    let reason = tokio::select! {
        signal = stop_signal() => signal.context("cannot listen for signals"),
        broken = pds.broken() => Err(anyhow::anyhow!(broken)),
    };
    tracing::info!("stopping");
    pds.destroy().await?;
    reason
}

/// Allows as many open files as the system lets this process have: each client is one. What is usually allowed at first
/// (1,024) is for programs of another time.
fn raise_file_limit() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// Resolves on SIGTERM or SIGINT.
async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
