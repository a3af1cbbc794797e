//! `pds-worker`: background work, and the operator's commands.

use clap::{Parser, Subcommand};
use worker::ops;

/// The background worker of Rookery, a Personal Data Server of the AT Protocol, and its commands for operators.
///
/// It is configured by environment variables only, under the names that the reference server gave them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the database's schema up to date. Needs only `PDS_DATABASE_URL`.
    Migrate,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match arguments.command {
        Command::Migrate => ops::migrate().await,
    }
}
