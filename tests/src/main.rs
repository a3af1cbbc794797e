//! `stack`: starts what Rookery needs around it, and Rookery. See `stack help`.

mod exec;
mod run;
mod welcome;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use atproto::syntax::Did;
use clap::{Parser, Subcommand};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tests::stack::DataFolder;

/// The development stack of Rookery.
#[derive(Debug, Parser)]
#[command(name = "stack")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run Rookery with everything it needs until Ctrl-C.
    Run(run::Arguments),
    /// Run a command with an empty Postgres and Redis of its own, which are gone afterwards.
    ///
    /// The command finds them in `TEST_DATABASE_URL` (a role that may do anything) and `TEST_REDIS_URL`.
    Exec(exec::Arguments),
    /// Print the archive of a repo of posts that no server ever had, for importRepo.
    Archive {
        /// Whose repo it is to be.
        #[arg(long)]
        did: Did,
        /// How many posts there are.
        #[arg(long)]
        records: usize,
    },
    /// Remove all that `run` keeps.
    Clean {
        /// The folder that `run` used.
        #[arg(long, default_value = ".dev")]
        data: PathBuf,
    },
}

// Child processes are tied to the thread that spawns them; see `tests::stack::Launch`.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(Arguments::parse().command).await.unwrap_or_else(|error| {
        // If nobody reads the message, there is nobody to tell.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode> {
    // Whoever started us may be killed without a chance to stop us.
    set_pdeathsig(Signal::SIGTERM)?;
    match command {
        Command::Run(arguments) => run::run(arguments).await,
        Command::Exec(arguments) => exec::run(arguments).await,
        Command::Archive { did, records } => {
            io::stdout().write_all(&tests::archive::synthetic(&did, records)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Clean { data } => DataFolder::remove(&data).map(|()| ExitCode::SUCCESS),
    }
}
