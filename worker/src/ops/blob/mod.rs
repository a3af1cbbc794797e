//! `pds-worker blob …`.

mod gc;
mod orphans;
mod restore;
mod verify;

use anyhow::Context as _;
use clap::Subcommand;
use common::blob::Objects;
use common::config::Config;
use common::db::PgPool;

use super::{Outcome, database};

/// Look after the bytes of blobs.
///
/// These take the settings of the servers, of which they need those of the database and the blob store.
#[derive(Debug, Subcommand)]
pub enum BlobCommand {
    /// Remove what nobody needs any more, now rather than when a worker comes to it.
    ///
    /// What no record refers to is put into quarantine when its time has come, and given up when it has been there long
    /// enough; the bytes go some minutes after that. This does what is due and no more: run it again to see it through.
    ///
    /// Exit code: 0, or 2 if it failed.
    Gc(gc::Arguments),
    /// Take blobs out of quarantine, as if they had just been uploaded.
    ///
    /// What a record refers to comes back by itself.
    ///
    /// Exit code: 0, 1 if a blob is not in quarantine, 2 if it failed.
    Restore(restore::Arguments),
    /// Read blobs and compare them with their CIDs.
    ///
    /// Says which are missing, which have other bytes, and which are taken down but lie where readers look; `--repair` has
    /// the workers put these last out of use.
    ///
    /// Exit code: 0 if all are sound, 1 if some are not, 2 if some could not be read.
    Verify(verify::Arguments),
    /// List the objects in the store that no blob in the database has, such as an upload leaves that broke off.
    ///
    /// Exit code: 0 if there are none, or they are deleted; 1 if there are some; 2 if it failed.
    Orphans(orphans::Arguments),
}

impl BlobCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Gc(arguments) => gc::run(&arguments).await,
            Self::Restore(arguments) => restore::run(arguments).await,
            Self::Verify(arguments) => verify::run(arguments).await,
            Self::Orphans(arguments) => orphans::run(&arguments).await,
        }
    }
}

/// The database and the store that the settings name.
async fn open(command: &str, connections: u32) -> anyhow::Result<(Config, PgPool, Objects)> {
    let config = Config::from_env()?;
    let pool = database::open_at(config.database.clone(), command, connections).await?;
    let objects = Objects::from_config(&config.blobstore);
    objects.check().await.context("cannot use the blob store")?;
    Ok((config, pool, objects))
}
