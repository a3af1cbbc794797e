//! Why an import came to nothing.

use std::io;

use atproto::car::CarError;
use atproto::commit::CommitError;
use atproto::data::Cid;
use atproto::mst;
use atproto::syntax::Did;

use super::spool::MAX_BLOCKS;
use crate::keys::KeyError;

/// Why a repo was not imported. Nothing has changed, unless it is [`ImportError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Too many imports are under way in this replica.
    #[error("too many imports are under way")]
    Busy,
    /// Another import of this account is under way, on whatever replica.
    #[error("Another import of this repo is under way")]
    InProgress,
    /// The archive broke off: whoever sent it went away.
    #[error("the import was given up")]
    Aborted,
    /// The archive itself is malformed.
    #[error("Malformed archive: {0}")]
    Archive(#[source] CarError),
    /// The archive has more than one root, or none.
    #[error("expected one root")]
    Roots,
    /// More blocks than an import keeps track of.
    #[error("Archive has too many blocks ({MAX_BLOCKS} max)")]
    TooManyBlocks,
    /// A few blocks used so often that the records would be larger than an archive may be.
    #[error("Records are too large in total")]
    TooLarge,
    /// The root is not a commit.
    #[error("Malformed commit: {0}")]
    Commit(#[source] CommitError),
    /// The commit is of another repo.
    #[error("Archive holds the repo of {0}")]
    WrongDid(Did),
    /// A block that belongs to the repo is not in the archive.
    #[error("Missing block: {0}")]
    MissingBlock(Cid),
    /// A block is not a tree node.
    #[error("Malformed tree node {0}: {1}")]
    Node(Cid, #[source] mst::NodeError),
    /// A tree node that no honest repo has.
    #[error("Tree node {0} is too large")]
    NodeTooLarge(Cid),
    /// The nodes make no tree.
    #[error("Malformed tree: {0}")]
    Tree(#[source] mst::Error),
    /// The tree is not the one its keys must give.
    #[error("The tree's root does not match its records")]
    Root,
    /// A record that is none, or has an impossible path.
    #[error("Could not parse record at '{path}': {reason}")]
    Record {
        /// Where it is.
        path: mst::Key,
        /// What is wrong.
        reason: String,
    },
    /// The account is gone.
    #[error("Could not find repo")]
    RepoNotFound,
    /// The account is taken down.
    #[error("Account has been taken down")]
    Takendown,
    /// Writers won the race for this repo every time.
    #[error("the repo is too busy")]
    Contended,
    /// The import took so long that another one took its place, or Postgres crashed and forgot what was loaded.
    #[error("what was loaded of an import is gone")]
    Superseded,
    /// The connection broke before the answer came: the repo may or may not have been replaced.
    #[error("the database connection broke; whether the repo was imported is not known")]
    Unknown,
    /// The work was cut off, as by a panic.
    #[error("an import was interrupted")]
    Interrupted,
    /// The account's signing key cannot be used.
    #[error("signing key unavailable")]
    Key(#[from] KeyError),
    /// The temporary file cannot be written or read.
    #[error("cannot spool an archive")]
    Spool(#[from] io::Error),
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

impl From<CarError> for ImportError {
    fn from(error: CarError) -> Self {
        match error {
            CarError::Roots(_) => Self::Roots,
            error => Self::Archive(error),
        }
    }
}
