//! importRepo: a repo that arrives as an archive and replaces the account's repo at once.
//!
//! # The protocol
//!
//! ```text
//! claim ──► spool ──► check and load, chunk by chunk ──► finish ──► give the claim back
//!   │         │                 │                          │
//! repo_import temporary file    repo_import_{record,blob,node}  repo_import_finish_v1: one statement
//! ```
//!
//! 1. **Claim.** A row of `repo_import` with a lease says which import of an account may load; there is one at a time over
//!    all replicas. It is renewed while the import goes on. An import whose lease ran out (its replica was killed) can load
//!    no more: each chunk is inserted only together with a renewal of the claim it belongs to.
//! 2. **Spool.** The archive goes to a file without a name; each block's hash is checked as it comes. Blocks may come in any
//!    order, so nothing can be said of the tree before the last. In memory there are the unfinished section (2 MiB at most)
//!    and 24 bytes a block.
//! 3. **Check and load.** Commit, tree and records are checked in one walk in key order, and the tree is built anew from its
//!    entries: if the root is the archive's, every node is right. Records are checked against the data model, not against
//!    schemas, and may have blob references of the old form. What was checked goes to tables that nothing reads,
//!    while the old repo stays readable and writable.
//! 4. **Finish.** The tree is signed with the account's key under a rev above that of the repo here and of the archive.
//!    `repo_import_finish_v1` compares and swaps the head like any commit and moves the rows in the same statement, so readers
//!    see the old repo or the new one. An active account's `#sync` is numbered in it.
//!
//! The archive's signature is not checked. It would say who vouched for the tree, and that is the caller, who has the
//! account's main password and might write the same records one by one; and an archive must be usable after the key that signed
//! it was lost or replaced.
//!
//! Reference: it takes the archive of any DID, keeps the foreign commit as head, and never tells the stream; ours refuses,
//! re-signs, and emits `#sync` for an active account, because relays cannot follow a repo that changes without a `#commit`.
//!
//! # When something dies
//!
//! Whatever is loaded is invisible until the finish has committed. Left-overs of a killed import go with the next import of the
//! same account, or by [`ImportLeftovers`], which the worker sees to. A finish whose answer was lost is
//! called again and recognises itself by the head. A stop of the client before its archive is complete aborts the import; after
//! that, the import completes without it.
//!
//! # Why the rows move in the last statement
//!
//! Rows are keyed by account, so a repo that is loaded beforehand needs other keys, and somebody has to turn them. An
//! indirection (a repo's rows under an id of their own, kept in the `repo` row) would make the last statement small, at the
//! price of one more id in every read, in every statement that joins records with accounts, and in the function of commits; and an
//! account's rows would no longer share one distribution key. Moving them takes the last statement some 20 µs a row
//! (measured: 128,000 records, 43,000 nodes and 70,000 links in 2.9 s). Meanwhile the old repo stays readable; commits to this
//! one repo are told `busy` by their function, which skips held rows, and come again; nobody else waits, for the sequencer
//! row is taken last.
//!
//! # Bounds
//!
//! [`IMPORTS`] at a time in a replica; the body as configured; [`spool::MAX_BLOCKS`] blocks; values of at most as many bytes
//! as the body may have, however often a block is used; nodes of an honest size; two chunks ahead of Postgres.
//!
//! Measured with a release build on two busy cores: an archive of 128,000 posts and 43 MB in 4 to 8 s, of which the replica
//! computes 0.7 s and Postgres 1.9 s; the replica's memory grows by 50 MB at the peak.

mod error;
mod finish;
mod spool;
mod store;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;
use std::time::Duration;

use atproto::syntax::Did;
use bytes::Bytes;
pub use error::ImportError;
use spool::{Spool, Spooling};
use store::Claim;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};
use tracing::{info, warn};
use tree::{Checked, Chunk};

use super::Repos;
use super::write::CommitRef;
use crate::db::{AccountId, PgPool};

/// Imports at a time in a replica. Each may hold a spool on disk and, now and then, a connection.
pub(super) const IMPORTS: usize = 2;
/// How long a new import waits for others to end.
const WAIT: Duration = Duration::from_secs(10);
/// How long a claim lasts without a sign of life.
const LEASE: Duration = Duration::from_mins(1);
/// How often a claim is renewed while the archive arrives.
const RENEWAL: Duration = Duration::from_secs(15);
/// Pieces of the archive that may wait for the disk.
const PIECES_AHEAD: usize = 8;
/// Chunks that may wait for Postgres.
const CHUNKS_AHEAD: usize = 2;

/// What goes from the one who has the archive to the one who spools it.
enum Piece {
    Bytes(Bytes),
    /// The last piece. Without it the archive is not complete, even if it looks so.
    End,
}

/// An import that takes its archive piece by piece. Dropping it gives the import up, too, but does not wait.
#[derive(Debug)]
pub struct Upload {
    pieces: mpsc::Sender<Piece>,
    outcome: oneshot::Receiver<Result<CommitRef, ImportError>>,
}

impl Upload {
    /// Takes the next bytes of the archive. Once it has proved bad, further bytes are dropped; [`Upload::finish`] says why.
    pub async fn push(&mut self, piece: Bytes) {
        // Whoever should receive it has its reason to be gone, and tells it in the end.
        let _ = self.pieces.send(Piece::Bytes(piece)).await;
    }

    /// Ends the archive and waits until the repo is replaced, or the reason why it was not.
    pub async fn finish(self) -> Result<CommitRef, ImportError> {
        let _ = self.pieces.send(Piece::End).await;
        self.outcome.await.unwrap_or(Err(ImportError::Interrupted))
    }

    /// Gives the import up and waits until nothing is left of it.
    pub async fn give_up(self) {
        drop(self.pieces);
        // However it ended, it did.
        let _ = self.outcome.await;
    }
}

impl Repos {
    /// Starts to import a repo for `did`'s account, whose archive and records may have `max_bytes` each.
    ///
    /// # Errors
    /// `Busy` if the replica has no place for it, `InProgress` if the account has an import under way, `Storage`. Whatever
    /// else goes wrong, [`Upload::finish`] tells.
    pub async fn import(&self, account: AccountId, did: &Did, max_bytes: u64) -> Result<Upload, ImportError> {
        let place = timeout(WAIT, Arc::clone(&self.imports).acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or(ImportError::Busy)?;
        let claim = store::insert_claim(&mut *self.pool.acquire().await?, account, LEASE).await?;
        let import =
            Import { repos: self.clone(), claim: claim.ok_or(ImportError::InProgress)?, did: did.clone(), max_bytes };
        let (pieces, arriving) = mpsc::channel(PIECES_AHEAD);
        let (answer, outcome) = oneshot::channel();
        tokio::spawn(async move {
            let result = import.run(arriving).await;
            drop(place);
            // Whoever asked may be gone.
            let _ = answer.send(result);
        });
        Ok(Upload { pieces, outcome })
    }
}

/// What imports have left that ended without saying so, as when their replica was killed.
#[derive(Clone, Debug)]
pub struct ImportLeftovers {
    pool: PgPool,
}

impl ImportLeftovers {
    /// Those in this database.
    pub fn new(pool: &PgPool) -> Self {
        Self { pool: pool.clone() }
    }

    /// Removes them; gives the number of such imports. Safe to call at any time, from anywhere: an import that goes on keeps
    /// its claim, and what is under it.
    pub async fn purge(&self) -> sqlx::Result<i64> {
        store::delete_expired(&mut *self.pool.acquire().await?).await
    }
}

/// An import under way.
struct Import {
    repos: Repos,
    claim: Claim,
    did: Did,
    max_bytes: u64,
}

impl Import {
    async fn run(self, arriving: mpsc::Receiver<Piece>) -> Result<CommitRef, ImportError> {
        let result = self.replace(arriving).await;
        if let Err(error) = self.give_back().await {
            warn!(%error, "an import's left-overs stay until its claim has expired");
        }
        result
    }

    async fn replace(&self, arriving: mpsc::Receiver<Piece>) -> Result<CommitRef, ImportError> {
        let spool = self.receive(arriving).await?;
        let checked = self.load(spool).await?;
        let commit = self.finish(&checked).await?;
        info!(did = %self.did, rev = %commit.rev, records = checked.records, "imported a repo");
        Ok(commit)
    }

    /// Spools the archive on a thread of its own; sees to the claim meanwhile.
    async fn receive(&self, arriving: mpsc::Receiver<Piece>) -> Result<Spool, ImportError> {
        let mut spooling = tokio::task::spawn_blocking(move || spool(arriving));
        let mut renewal = interval(RENEWAL);
        loop {
            tokio::select! {
                spool = &mut spooling => return spool.map_err(|_| ImportError::Interrupted)?,
                _ = renewal.tick() => self.renew(LEASE).await?,
            }
        }
    }

    /// Checks the archive on a thread of its own; loads what it hands out.
    async fn load(&self, spool: Spool) -> Result<Checked, ImportError> {
        let (chunks, mut checked) = mpsc::channel::<Chunk>(CHUNKS_AHEAD);
        let (did, max_bytes) = (self.did.clone(), self.max_bytes);
        let checking = tokio::task::spawn_blocking(move || {
            // If the receiver is gone, it has a better reason.
            tree::check(&spool, &did, max_bytes, |chunk| {
                chunks.blocking_send(chunk).map_err(|_| ImportError::Interrupted)
            })
        });
        while let Some(chunk) = checked.recv().await {
            let mut conn = self.repos.pool.acquire().await?;
            if !store::insert_chunk(&mut conn, self.claim, &chunk, LEASE).await? {
                return Err(ImportError::Superseded);
            }
        }
        checking.await.map_err(|_| ImportError::Interrupted)?
    }

    async fn renew(&self, lease: Duration) -> Result<(), ImportError> {
        let mut conn = self.repos.pool.acquire().await?;
        let mine = store::update_claim(&mut conn, self.claim, lease).await?;
        if mine { Ok(()) } else { Err(ImportError::Superseded) }
    }

    async fn give_back(&self) -> sqlx::Result<()> {
        store::delete_claim(&mut *self.repos.pool.acquire().await?, self.claim).await
    }
}

fn spool(mut arriving: mpsc::Receiver<Piece>) -> Result<Spool, ImportError> {
    let mut spooling = Spooling::start()?;
    loop {
        match arriving.blocking_recv() {
            Some(Piece::Bytes(bytes)) => spooling.push(&bytes)?,
            Some(Piece::End) => return spooling.finish(),
            None => return Err(ImportError::Aborted),
        }
    }
}
