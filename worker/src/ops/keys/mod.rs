//! `pds-worker keys …`.

mod rewrap;
mod status;

use clap::Subcommand;
use common::config::Config;
use common::keys::{KeyVault, Rewrapper};

use super::{Outcome, database};

/// Look after the keys that seal the accounts' signing keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Say how many signing keys each key-encryption key has sealed. Needs the settings of the server.
    ///
    /// Exit code: 0 if all of them can be opened, 1 if a key-encryption key is missing, 2 if it could not be found out.
    Status(status::Arguments),
    /// Seal the signing keys anew that another key than `PDS_KEY_ENCRYPTION_KEY` has sealed.
    ///
    /// For when the key-encryption key changes: what the keys of `PDS_KEY_ENCRYPTION_KEY_PREVIOUS` sealed needs them no
    /// longer afterwards. Works beside the servers, in batches; stopped at any point, the next call goes on. Needs the
    /// settings of the server.
    ///
    /// Exit code: 0 if all are sealed by the current key now, 1 if some could not be opened, 2 if it could not be done.
    Rewrap(rewrap::Arguments),
}

impl KeysCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Status(arguments) => status::run(&arguments).await,
            Self::Rewrap(arguments) => rewrap::run(&arguments).await,
        }
    }
}

/// Opens the database, with the key-encryption keys of the server.
async fn rewrapper(command: &str) -> anyhow::Result<Rewrapper> {
    let config = Config::from_env()?;
    let vault = KeyVault::from_config(&config.secrets);
    let pool = database::open_at(config.database, command, 1).await?;
    Ok(Rewrapper::new(pool, vault))
}
