//! `pds-worker admin …`.

mod account;
mod audit;

use clap::Subcommand;

use super::Outcome;
use account::AccountCommand;

/// Look after accounts, and read what was done to them.
///
/// Every act is in the audit log, under the name of the user who gave the command.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Find, show, change, close and delete accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Show what operators and moderators did, the newest first.
    ///
    /// Needs only `PDS_DATABASE_URL`. Exit code: 0, or 2 if nothing could be read.
    Audit(audit::Arguments),
}

impl AdminCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Account(command) => command.run().await,
            Self::Audit(arguments) => audit::run(arguments).await,
        }
    }
}
