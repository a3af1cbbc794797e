//! `pds-worker jobs …`.

mod list;
mod retry;
mod show;

use clap::Subcommand;

use super::Outcome;

/// Look into the queue of background work.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs: those that wait, run, or were given up.
    ///
    /// Needs only `PDS_DATABASE_URL`. Exit code: 0, or 2 if nothing could be read.
    List(list::Arguments),
    /// Show everything about a job.
    ///
    /// Needs only `PDS_DATABASE_URL`. Exit code: 0, or 2 if there is no such job.
    Show(show::Arguments),
    /// Have jobs tried again that were given up, or one that waits at once.
    ///
    /// A dead letter gets all its tries again. Of several with the same key only the newest is left, and none if such a job
    /// waits already. Needs only `PDS_DATABASE_URL`.
    ///
    /// Exit code: 0, or 2 if there is no such job.
    Retry(retry::Arguments),
    /// Remove a job for good.
    ///
    /// One that a worker does at this moment stays. Needs only `PDS_DATABASE_URL`.
    ///
    /// Exit code: 0, or 2 if there is no such job.
    Discard(retry::Discard),
}

impl JobsCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::List(arguments) => list::run(&arguments).await,
            Self::Show(arguments) => show::run(&arguments).await,
            Self::Retry(arguments) => retry::run(&arguments).await,
            Self::Discard(arguments) => retry::discard(&arguments).await,
        }
    }
}
