//! `pds-worker relay …`.

mod print;
mod request;
mod status;

use clap::Subcommand;

use super::Outcome;

/// See what relays know of this server.
#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Ask relays how this server is to them, how far they have read, and whether their accounts are as ours.
    ///
    /// Asks every relay of `PDS_CRAWLERS`: for its cursor and its count of accounts (`getHostStatus`), and for the status
    /// of some accounts (`getRepoStatus`), one half of them the newest, which are the first that a relay over its limit
    /// leaves out, the other half at random. It changes nothing, here or there.
    ///
    /// Exit code: 0 if all is well; 1 if there is a warning; 2 if a relay did not say, and there is no other warning, or if
    /// the command could not do its work.
    Status(status::Arguments),
}

impl RelayCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Status(arguments) => status::run(&arguments).await,
        }
    }
}
