//! `pds-worker events …`.

mod check;
mod keys;
mod replay;
mod source;

use clap::Subcommand;

use super::Outcome;

/// Look at the event stream as its subscribers do.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Read the event stream again and check every event as a relay does.
    ///
    /// Every block must be the one its CID names; undoing the operations of a commit on its own blocks must give the tree
    /// before; the signature must be the account's; numbers must rise; and in each repository `since` and `prevData` must
    /// name the commit before. Reads only. Without `--url` it checks this server's stream at its public address, with the
    /// keys in its database.
    ///
    /// Exit code: 0 if all is sound, 1 if a relay would refuse something, 2 if the stream could not be read.
    ReplayCheck(replay::Arguments),
}

impl EventsCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::ReplayCheck(arguments) => replay::run(arguments).await,
        }
    }
}
