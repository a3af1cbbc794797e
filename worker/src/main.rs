//! `pds-worker`: background work, and the operator's commands.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use worker::ops::{self, Outcome};
use worker::plain::Lines;

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
    #[command(subcommand)]
    Admin(ops::AdminCommand),
    #[command(subcommand)]
    Invite(ops::InviteCommand),
    /// Announce once more who accounts are, for relays that lost track of them.
    PublishIdentity(ops::PublishIdentity),
    /// Ask relays to read this server's event stream, and say what they answer.
    RequestCrawl(ops::RequestCrawl),
    #[command(subcommand)]
    Relay(ops::RelayCommand),
    #[command(subcommand)]
    Repo(ops::RepoCommand),
    #[command(subcommand)]
    Blob(ops::BlobCommand),
    #[command(subcommand)]
    Sequencer(ops::SequencerCommand),
    #[command(subcommand)]
    Events(ops::EventsCommand),
    #[command(subcommand)]
    Keys(ops::KeysCommand),
    #[command(subcommand)]
    Jobs(ops::JobsCommand),
    #[command(subcommand)]
    Mail(ops::MailCommand),
    /// Do the background work until SIGTERM. Takes the settings of the servers; any number of workers share the work.
    Run,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match arguments.command {
        Command::Migrate => ops::migrate().await.map(|()| Outcome::Sound),
        Command::Run => ops::run().await.map(|()| Outcome::Sound),
        Command::Admin(command) => command.run().await,
        Command::Invite(command) => command.run().await,
        Command::PublishIdentity(command) => command.run().await,
        Command::RequestCrawl(command) => command.run().await,
        Command::Relay(command) => command.run().await,
        Command::Repo(command) => command.run().await,
        Command::Blob(command) => command.run().await,
        Command::Sequencer(command) => command.run().await,
        Command::Events(command) => command.run().await,
        Command::Keys(command) => command.run().await,
        Command::Jobs(command) => command.run().await,
        Command::Mail(command) => command.run().await,
    };
    outcome.map_or_else(|error| fail(&error), ExitCode::from)
}

/// Says why nothing came of it.
fn fail(error: &anyhow::Error) -> ExitCode {
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr().lock(), "{}", Lines(format_args!("Error: {error:#}")));
    ExitCode::from(2)
}
