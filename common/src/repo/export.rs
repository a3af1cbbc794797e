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
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
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
/// How long a reader may take for one chunk before its export is given up: it holds a connection and a snapshot.
const STALL: Duration = Duration::from_secs(30);

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The repo is gone.
    #[error("Could not find repo")]
    RepoNotFound,
    /// The stored tree is damaged.
    #[error("repo is damaged: {0}")]
    Damaged(String),
    /// The reader took too long or went away.
    #[error("the reader of an export stalled")]
    Stalled,
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

/// The chunks of an archive. An error ends it early, and the archive is then incomplete.
pub type Archive = mpsc::Receiver<Result<Bytes, ExportError>>;

impl Repos {
    /// Starts to export a repo; with `since`, only blocks of commits after it (and the newest commit itself).
    ///
    /// Waits for one of the few places for exports. Small repos are read at once, whatever the reader's speed.
    pub async fn export(&self, account: AccountId, since: Option<Tid>) -> Result<Archive, ExportError> {
        let place = Arc::clone(&self.exports).acquire_owned().await.map_err(|_| ExportError::Stalled)?;
        let mut conn = self.pool.acquire().await?;
        let (chunks, archive) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(async move {
            let mut sink = Sink { buffer: BytesMut::with_capacity(CHUNK), chunks };
            if let Err(error) = stream(&mut conn, account, since, &mut sink).await {
                // The reader may be gone, which is the usual error.
                let _ = sink.chunks.try_send(Err(error));
            }
            drop(place);
        });
        Ok(archive)
    }
}

async fn stream(
    conn: &mut PgConnection,
    account: AccountId,
    since: Option<Tid>,
    sink: &mut Sink,
) -> Result<(), ExportError> {
    let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (head, commit_block) = store::find_commit(&mut snapshot, account).await?.ok_or(ExportError::RepoNotFound)?;
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
    chunks: mpsc::Sender<Result<Bytes, ExportError>>,
}

impl Sink {
    /// Sends what is there if it is at least `bytes`.
    async fn flush_from(&mut self, bytes: usize) -> Result<(), ExportError> {
        if self.buffer.len() < bytes {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        match timeout(STALL, self.chunks.send(Ok(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ExportError::Stalled),
        }
    }
}
