//! `getRepo`: a whole repo as a CAR, in the sync spec's streaming order and in constant memory.
//!
//! Order: the commit, then the tree depth-first in key order, each record where its key stands. Everything is read in one
//! snapshot, so commits that come meanwhile do not tear the tree. Nodes are read ahead in batches of those the walk reaches
//! next, records by ranges of the index; there is no query per block.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use atproto::car;
use atproto::data::Cid;
use atproto::mst::{self, BlockSource, Entry, Node, Step, Walker};
use atproto::syntax::Tid;
use bytes::{Bytes, BytesMut};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::Repos;
use super::store::{self, ExportedRecord, StoredNode};
use crate::db::AccountId;

/// Bytes in one chunk of the stream, give or take a block.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for a slow reader.
const CHUNKS_AHEAD: usize = 16;
/// Nodes to read ahead.
const NODES_AHEAD: usize = 1000;
/// How long a new export waits for others to end.
const WAIT: Duration = Duration::from_secs(10);
/// How long a reader may take for one chunk before its export is given up: it holds a connection and a snapshot.
const STALL: Duration = Duration::from_secs(30);

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
    /// The reader took too long.
    #[error("the reader of an export stalled")]
    Stalled,
    /// The export ended before the repo did.
    #[error("an export was interrupted")]
    Interrupted,
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

/// What goes from the task that reads to the one that sends.
enum Piece {
    Chunk(Bytes),
    /// The last piece. Without it, the archive is not whole, whatever kept the reading task from saying so.
    End(Result<(), ExportError>),
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
        let (pieces, archive) = mpsc::channel(CHUNKS_AHEAD);
        let sink = Sink { buffer: BytesMut::with_capacity(CHUNK), pieces };
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

async fn run(mut conn: PoolConnection<Postgres>, place: OwnedSemaphorePermit, mut export: Export) {
    let end = export.stream(&mut conn).await;
    // The reader may take its time for what was read. Nobody else waits for that.
    drop((conn, place));
    // It may also be gone.
    let _ = export.sink.pieces.send(Piece::End(end)).await;
}

impl Export {
    async fn stream(&mut self, conn: &mut PgConnection) -> Result<(), ExportError> {
        let Self { account, since, ref mut sink } = *self;
        let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let (head, commit_block) =
            store::find_commit(&mut snapshot, account).await?.ok_or(ExportError::RepoNotFound)?;
        sink.buffer.extend_from_slice(&car::header(&head.cid));
        car::section(&head.cid, &commit_block, &mut sink.buffer);

        let mut nodes = NodesAhead { account, since, nodes: HashMap::new() };
        let mut records = RecordsAhead { account, since, page: VecDeque::new() };
        let mut walker = Walker::new(head.root);
        loop {
            match walker.next(&nodes) {
                Ok(Some(Step::Node { cid, .. })) => {
                    if let Some(block) = nodes.take(&cid) {
                        car::section(&cid, &block, &mut sink.buffer);
                    }
                }
                Ok(Some(Step::Entry(entry))) => {
                    if let Some(value) = records.take(&mut snapshot, &entry).await? {
                        car::section(&entry.value, &value, &mut sink.buffer);
                    }
                }
                Ok(None) => break,
                Err(mst::Error::Missing(_)) => nodes.read(&mut snapshot, &walker).await?,
                Err(error) => return Err(ExportError::Damaged(error.to_string())),
            }
            sink.flush_from(CHUNK).await?;
        }
        // Nothing was changed: how the transaction ends does not matter.
        let _ = snapshot.rollback().await;
        sink.flush_from(1).await
    }
}

/// Nodes that the walk will come by, read before it does.
struct NodesAhead {
    account: AccountId,
    since: Option<Tid>,
    nodes: HashMap<Cid, AheadNode>,
}

struct AheadNode {
    node: Arc<Node>,
    /// The block, unless it is too old to be asked for.
    block: Option<Vec<u8>>,
}

impl BlockSource for NodesAhead {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        self.nodes.get(cid).map(|ahead| Arc::clone(&ahead.node))
    }
}

impl NodesAhead {
    fn take(&mut self, cid: &Cid) -> Option<Vec<u8>> {
        self.nodes.remove(cid)?.block
    }

    async fn read(&mut self, conn: &mut PgConnection, walker: &Walker) -> Result<(), ExportError> {
        let wanted = walker.lookahead(self, NODES_AHEAD);
        let found = store::list_nodes(conn, self.account, &wanted).await?;
        if found.len() < wanted.len() {
            return Err(ExportError::Damaged("a tree node is not stored".to_owned()));
        }
        for StoredNode { cid, rev, bytes } in found {
            let node = Node::decode(&bytes).map_err(|error| ExportError::Damaged(error.to_string()))?;
            let block = self.since.is_none_or(|since| rev > since).then_some(bytes);
            self.nodes.insert(cid, AheadNode { node: Arc::new(node), block });
        }
        Ok(())
    }
}

/// Records in the order of the walk, read a range of a collection at a time. All keys of a collection are neighbours in
/// the tree, whatever the order of the collections, so a range never runs past what the walk needs next.
struct RecordsAhead {
    account: AccountId,
    since: Option<Tid>,
    page: VecDeque<ExportedRecord>,
}

impl RecordsAhead {
    /// The value of the record at this entry, unless it is too old to be asked for.
    async fn take(&mut self, conn: &mut PgConnection, entry: &Entry) -> Result<Option<Vec<u8>>, ExportError> {
        if self.page.is_empty() {
            let range = (entry.key.collection(), entry.key.rkey());
            self.page = store::list_export(conn, self.account, range, self.since).await?.into();
        }
        match self.page.pop_front() {
            Some(record) if record.cid == entry.value => Ok(record.value),
            _ => Err(ExportError::Damaged(format!("record {} is not stored", entry.key))),
        }
    }
}

/// Where the archive goes.
struct Sink {
    buffer: BytesMut,
    pieces: mpsc::Sender<Piece>,
}

impl Sink {
    /// Sends what is there if it is at least `bytes`.
    async fn flush_from(&mut self, bytes: usize) -> Result<(), ExportError> {
        if self.buffer.len() < bytes {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        match timeout(STALL, self.pieces.send(Piece::Chunk(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ExportError::Interrupted),
            Err(_) => Err(ExportError::Stalled),
        }
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
