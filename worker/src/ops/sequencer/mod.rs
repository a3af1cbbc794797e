//! `pds-worker sequencer …`.

mod bump;
mod status;

use clap::Subcommand;

use super::Outcome;

/// Look after the numbers of the event stream.
#[derive(Debug, Subcommand)]
pub enum SequencerCommand {
    /// Show the newest number, what the log holds, how fast it grows, and what may hold it up.
    ///
    /// Needs only `PDS_DATABASE_URL`. Exit code: 0, or 2 if nothing could be read.
    Status(status::Arguments),
    /// Move the newest number ahead, after the database came back from a backup.
    ///
    /// A backup is older than the last event that was sent. The server would give the same numbers to other events, and
    /// subscribers that saw the first ones would pass over the second. So move ahead, before the server starts again, by more
    /// events than can have been sent since the backup was made: numbers cost nothing. To subscribers a gap is normal: they go
    /// on with the next event. The number never goes back. Needs only `PDS_DATABASE_URL`.
    ///
    /// Exit code: 0 if it was moved, 2 if not.
    Bump(bump::Arguments),
}

impl SequencerCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Status(arguments) => status::run(&arguments).await,
            Self::Bump(arguments) => bump::run(&arguments).await,
        }
    }
}
