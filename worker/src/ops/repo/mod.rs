//! `pds-worker repo …`.

mod print;
mod rebuild;
mod verify;

use clap::Subcommand;

use super::Outcome;

/// Check and mend stored repositories.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// Check that everything stored of a repository fits together.
    ///
    /// Derives the tree from the records again and holds everything against it: the bytes and CID of each record and tree
    /// node, links, the number of records, the commit and its signature. Reads only, each repository in one snapshot, so it
    /// may run beside the server. Needs only `PDS_DATABASE_URL`.
    ///
    /// Exit code: 0 if all is sound, 1 if something is damaged, 2 if something could not be checked.
    Verify(verify::Arguments),
    /// Make a repository again from its records: tree, links, number of records, and a newly signed commit.
    ///
    /// Checks first, says what is wrong, and asks. Announces the result as `#sync`, so that readers of the event stream fetch
    /// the repository anew. While it works, writes to this one repository wait; all others go on. Needs the settings of
    /// the server, for the keys.
    ///
    /// Exit code: 0 if the repository is sound now, 1 if it was left damaged, 2 if it could not be done.
    Rebuild(rebuild::Arguments),
}

impl RepoCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Verify(arguments) => verify::run(arguments).await,
            Self::Rebuild(arguments) => rebuild::run(arguments).await,
        }
    }
}
