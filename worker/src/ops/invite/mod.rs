//! `pds-worker invite …`.

mod create;
mod disable;
mod list;

use clap::Subcommand;

use super::Outcome;

/// Make, list and stop invitation codes.
///
/// These take the settings of the servers. Exit code: 0, or 2 if it failed.
#[derive(Debug, Subcommand)]
pub enum InviteCommand {
    /// Make codes, for nobody in particular or for some accounts.
    Create(create::Arguments),
    /// List all codes.
    List(list::Arguments),
    /// Stop codes, and all codes that some accounts have now.
    Disable(disable::Arguments),
}

impl InviteCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Create(arguments) => create::run(arguments).await,
            Self::List(arguments) => list::run(&arguments).await,
            Self::Disable(arguments) => disable::run(&arguments).await,
        }
    }
}
