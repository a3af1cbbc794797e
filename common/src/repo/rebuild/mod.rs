//! Mending a repo: tree, links, count and commit are made again from the records.
//!
//! The repo's row is locked from the first look to the last word, so no commit slips in between; writers of this repo are
//! told it is busy and try again, all others go on. What must change is written in chunks meanwhile, and what is right already
//! is left alone. The sequencer row is taken last, in the very message that commits (see `store::finish`): however long
//! the work took, the other repos' writers wait no longer than for any commit.
//!
//! To the network the result is a `#sync` with a fresh commit: readers whose copy differs fetch the repo anew, and later
//! commits follow on from there. Running it again does no harm.

mod mend;
mod store;

use atproto::commit::{Commit, UnsignedCommit};
use atproto::data::Cid;
use atproto::event::SyncEvent;
use atproto::syntax::{Datetime, Tid};
use sqlx::{Connection as _, PgConnection};

use super::verify::{self, RepoRef, Report};
use super::write::CommitRef;
use crate::clock::Clock;
use crate::db::PgPool;
use crate::keys::{KeyError, Keys};

/// What to do about records that are lost, or cannot be trusted: see [`super::Finding::is_loss`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Losses {
    /// Change nothing if there are any.
    Refuse,
    /// Delete what cannot be trusted, and let go of what is lost.
    Accept,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The new commit.
    pub commit: CommitRef,
    /// Number of the `#sync` event; `None` for an inactive account, whose repo is announced when it becomes active again.
    pub seq: Option<i64>,
    /// Records in the repo now.
    pub records: u64,
    /// Tree nodes written.
    pub nodes_written: u64,
    /// Tree nodes deleted.
    pub nodes_deleted: u64,
    /// Links written or deleted.
    pub links_mended: u64,
    /// References to blobs written or deleted.
    pub blobs_mended: u64,
    /// Damaged records deleted.
    pub records_dropped: u64,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is no such repo any more.
    #[error("there is no such repository")]
    RepoNotFound,
    /// Records are lost or damaged, and this was not accepted.
    #[error("{} records are lost or damaged", .0.findings.losses())]
    Losses(Box<Report>),
    /// The account has no signing key, or it cannot be opened.
    #[error("the account's signing key cannot be used")]
    Key(#[from] KeyError),
    /// The account has no signing key.
    #[error("the account has no signing key")]
    NoKey,
    /// The sealed key is not the one whose public half is stored beside it.
    #[error("the account's sealed signing key does not belong to its public key")]
    OtherKey,
    /// The last message got no answer.
    #[error("no answer to the last step: it may or may not have been taken; check the repository, and run this again")]
    Unknown(#[source] sqlx::Error),
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

/// Mends repos.
#[derive(Clone, Debug)]
pub struct Rebuilder {
    pool: PgPool,
    keys: Keys,
    clock: Clock,
}

/// What a rebuild works on, under the lock of its row.
struct Work {
    repo: RepoRef,
    /// The newest rev before, as it is stored.
    stored_rev: String,
    /// The rev of the commit to come.
    rev: Tid,
}

impl Rebuilder {
    /// Mends the repos in this database, with these keys.
    pub fn new(pool: PgPool, keys: Keys, clock: Clock) -> Self {
        Self { pool, keys, clock }
    }

    /// Makes the repo again from its records, signs it anew and announces it.
    ///
    /// `seen` is what a check found just before; if the repo was written since, it is checked again.
    ///
    /// # Errors
    /// Nothing is changed then, except perhaps with `Unknown`.
    pub async fn rebuild(&self, seen: &Report, losses: Losses) -> Result<Rebuilt, RebuildError> {
        let repo = &seen.repo;
        let key = self.keys.find_signing_key(repo.account, &repo.did).await?.ok_or(RebuildError::NoKey)?;
        // Out of the pool: the last message ends the transaction by itself. Dropping the connection undoes everything.
        let mut conn = self.pool.acquire().await?.detach();
        store::begin(&mut conn).await?;
        let row = store::lock_head(&mut conn, repo.account).await?.ok_or(RebuildError::RepoNotFound)?;
        if row.public_key != Some(key.public_key().to_string()) {
            return Err(RebuildError::OtherKey);
        }
        self.check_losses(&mut conn, seen, &row.head, losses).await?;
        let prev = newest_rev(&row);
        let micros = u64::try_from(self.clock.micros()).unwrap_or_default();
        let rev = Tid::after(prev, micros, rand::random::<u16>() % 1024);
        let work = Work { repo: repo.clone(), stored_rev: row.rev, rev };
        let mended = mend::mend(&mut conn, &work).await?;
        let commit = UnsignedCommit { did: repo.did.clone(), rev, data: mended.root }.sign(&key);
        let event = SyncEvent::new(&commit, Datetime::from_unix_millis(micros / 1000)).encode();
        let (cid, block) = commit.to_block();
        store::update_head(
            &mut conn,
            &work,
            &NewHead { cid, root: mended.root, block: &block, records: mended.records },
        )
        .await?;
        let event = row.is_active.then_some(&event[..]);
        let seq = store::finish(&mut conn, repo.account, event).await.map_err(RebuildError::Unknown)?;
        // It is done: how the connection ends does not matter.
        let _ = conn.close().await;
        Ok(mended.into_rebuilt(CommitRef { cid, rev }, seq))
    }

    /// Refuses losses that were not accepted. No commit of ours loses a record, so what was seen of this very head holds.
    async fn check_losses(
        &self,
        conn: &mut PgConnection,
        seen: &Report,
        head: &[u8],
        losses: Losses,
    ) -> Result<(), RebuildError> {
        if losses == Losses::Accept {
            return Ok(());
        }
        let report = if seen.head == head { None } else { verify::verify(conn, &seen.repo).await? };
        let report = report.unwrap_or_else(|| seen.clone());
        if report.findings.losses() == 0 { Ok(()) } else { Err(RebuildError::Losses(Box::new(report))) }
    }
}

/// What goes into the repo's row.
struct NewHead<'a> {
    cid: Cid,
    root: Cid,
    block: &'a [u8],
    records: u64,
}

/// The newest rev that may have been published: what the row and the commit say, as far as they can be read.
fn newest_rev(row: &store::LockedHead) -> Option<Tid> {
    let is_whole = Cid::from_bytes(&row.head).is_ok_and(|head| head.verifies(&row.commit_block));
    let committed = Commit::decode(&row.commit_block).ok().filter(|_| is_whole).map(|commit| commit.rev);
    row.rev.parse().ok().max(committed)
}
