//! `getRepo`: a whole repo as a CAR, in the sync spec's streaming order and in constant memory.
//!
//! Order: the commit, then the tree depth-first in key order, each record where its key stands. Everything is read in one
//! snapshot, so commits that come meanwhile do not tear the tree. Nodes are read ahead in batches of those the walk reaches
//! next, records by ranges of the index; there is no query per block.
//!
//! With `since`, the walk leaves out what was there by then: it costs what has changed, not what is there.
//!
//! An export holds a connection while it reads, and a snapshot, which keeps Postgres from cleaning up. So there are only
//! so many at once, a reader that is too slow is cut off, and what fits the queue is read at once whatever the reader does.

mod ahead;
mod sink;
mod store;

use std::sync::Arc;
use std::time::Duration;

use ahead::{NodesAhead, RecordsAhead};
use atproto::car;
use atproto::mst::{self, Step, Walker};
use atproto::syntax::Tid;
use bytes::Bytes;
use sink::{Piece, Sink};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::Repos;
use super::store::find_commit;
use crate::db::{AccountId, PoolConnection};

/// How long a new export waits for others to end.
const WAIT: Duration = Duration::from_secs(10);

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The repo is gone.
    #[error("Could not find repo")]
    RepoNotFound,
    /// Too many exports are under way.
    #[error("too many exports are under way")]
    Busy,
    /// The stored tree is damaged.
    #[error("repo is damaged: {0}")]
    Damaged(String),
    /// The reader is too slow.
    #[error("the reader of an export is too slow")]
    Stalled,
    /// The export ended before the repo did.
    #[error("an export was interrupted")]
    Interrupted,
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

/// An archive on its way. Dropping it ends the export.
#[derive(Debug)]
pub struct Archive {
    /// `None` once the end has been told.
    pieces: Option<mpsc::Receiver<Piece>>,
}

impl Archive {
    /// The next bytes. `None` follows the last bytes of the whole archive only; if that is not to be had, an error comes
    /// first.
    pub async fn next(&mut self) -> Option<Result<Bytes, ExportError>> {
        let end = match self.pieces.as_mut()?.recv().await {
            Some(Piece::Chunk(chunk)) => return Some(Ok(chunk)),
            Some(Piece::End(end)) => end,
            None => Err(ExportError::Interrupted),
        };
        self.pieces = None;
        end.err().map(Err)
    }
}

impl Repos {
    /// Starts to export a repo; with `since`, only blocks of commits after it (and the newest commit itself).
    ///
    /// Waits for one of the few places for exports. Small repos are read at once, whatever the reader's speed.
    ///
    /// # Errors
    /// `Busy` if no place gets free in time; `Storage` if Postgres cannot be reached. Whatever else goes wrong ends the
    /// archive.
    pub async fn export(&self, account: AccountId, since: Option<Tid>) -> Result<Archive, ExportError> {
        let place = timeout(WAIT, Arc::clone(&self.exports).acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or(ExportError::Busy)?;
        let conn = self.pool.acquire().await?;
        let (sink, archive) = Sink::new();
        tokio::spawn(run(conn, place, Export { account, since, sink }));
        Ok(Archive { pieces: Some(archive) })
    }
}

/// One export.
struct Export {
    account: AccountId,
    since: Option<Tid>,
    sink: Sink,
}

async fn run(mut conn: PoolConnection, place: OwnedSemaphorePermit, mut export: Export) {
    let end = export.stream(&mut conn).await;
    // The reader may take its time for what was read. Nobody else waits for that.
    drop((conn, place));
    export.sink.end(end).await;
}

impl Export {
    async fn stream(&mut self, conn: &mut PoolConnection) -> Result<(), ExportError> {
        let Self { account, since, ref mut sink } = *self;
        let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let (head, commit_block) = find_commit(&mut snapshot, account).await?.ok_or(ExportError::RepoNotFound)?;
        sink.buffer.extend_from_slice(&car::header(&head.cid));
        car::section(&head.cid, &commit_block, &mut sink.buffer);

        let (mut nodes, mut records) = (NodesAhead::new(account, since), RecordsAhead::new(account, since));
        let mut walker = Walker::new(head.root);
        loop {
            match walker.next(&nodes) {
                Ok(Some(Step::Node { cid, .. })) => {
                    if let Some(block) = nodes.take(&cid) {
                        car::section(&cid, &block, &mut sink.buffer);
                    }
                }
                Ok(Some(Step::Entry(entry))) => {
                    if let Some(value) = records.take(&mut snapshot, &entry, &walker, &nodes).await? {
                        car::section(&entry.value, &value, &mut sink.buffer);
                    }
                }
                Ok(None) => break,
                Err(mst::Error::Missing(_)) => nodes.read(&mut snapshot, &mut walker).await?,
                Err(error) => return Err(ExportError::Damaged(error.to_string())),
            }
            sink.flush_chunk().await?;
        }
        // Nothing was changed: how the transaction ends does not matter.
        let _ = snapshot.rollback().await;
        sink.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_told_end_is_an_end() {
        let (pieces, receiver) = mpsc::channel(4);
        let mut archive = Archive { pieces: Some(receiver) };
        pieces.send(Piece::Chunk(Bytes::from_static(b"half"))).await.unwrap();
        drop(pieces);
        assert_eq!(archive.next().await.unwrap().unwrap(), "half");
        assert!(matches!(archive.next().await, Some(Err(ExportError::Interrupted))));
        assert!(archive.next().await.is_none());

        let (pieces, receiver) = mpsc::channel(4);
        let mut archive = Archive { pieces: Some(receiver) };
        pieces.send(Piece::Chunk(Bytes::from_static(b"whole"))).await.unwrap();
        pieces.send(Piece::End(Ok(()))).await.unwrap();
        assert_eq!(archive.next().await.unwrap().unwrap(), "whole");
        assert!(archive.next().await.is_none());
    }
}
