//! `stack`: starts what Rookery needs around it. See `stack help`.

mod exec;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The development stack of Rookery.
#[derive(Debug, Parser)]
#[command(name = "stack")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command with an empty Postgres and Redis of its own, which are gone afterwards.
    ///
    /// The command finds them in `TEST_DATABASE_URL` (a role that may do anything) and `TEST_REDIS_URL`.
    Exec(exec::Arguments),
}

// Child processes are tied to the thread that spawns them; see `tests::stack::Launch`.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Exec(arguments) => exec::run(arguments).await,
    }
}
