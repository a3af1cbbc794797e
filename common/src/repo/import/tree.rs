//! From a spooled archive to rows: the check of commit, tree and records, in one pass in key order.
//!
//! What bounds it, whatever the archive holds: the walk comes by no node twice and is 128 levels deep at most, nodes have
//! at most [`MAX_NODE_LEN`] bytes, the records' values together no more than the archive may have, and what has been
//! checked leaves in chunks.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use atproto::commit::Commit;
use atproto::data::{self, Cid, Codec, Ipld, RecordBlob};
use atproto::mst::{self, BlockSource, Builder, Entry, Node, Step, Walker};
use atproto::syntax::{Did, Nsid, RecordKey, Tid};
use bytes::Bytes;

use super::error::ImportError;
use super::spool::Spool;
use crate::blob::Reference;
use crate::repo::prepare::link_target;

/// Longest node in an import, in bytes. Nodes hold four keys on average; a larger one takes keys chosen to be in one node.
/// The walk holds a node a level in memory, decoded to up to 25 times its length.
const MAX_NODE_LEN: usize = 128 * 1024;
/// Bytes of a chunk, give or take a block.
const CHUNK_BYTES: usize = 512 * 1024;
/// Rows of a chunk, give or take what one record brings.
const CHUNK_ROWS: usize = 2000;

/// Records and nodes that were checked.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) records: Vec<CheckedRecord>,
    /// The blobs that the records refer to, in either form.
    pub(super) blobs: Vec<Reference>,
    pub(super) nodes: Vec<(Cid, Bytes)>,
    /// Bytes of the blocks.
    pub(super) bytes: usize,
}

/// A record as it is stored.
pub(super) struct CheckedRecord {
    pub(super) collection: Nsid,
    pub(super) rkey: RecordKey,
    pub(super) cid: Cid,
    /// DAG-CBOR.
    pub(super) value: Vec<u8>,
    /// The account or record it points at, if it is a follow, block, like or repost.
    pub(super) target: Option<String>,
}

/// What an archive holds, once all of it has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Checked {
    /// Rev of the archive's commit.
    pub(super) rev: Tid,
    /// Root of the tree.
    pub(super) root: Cid,
    /// How many records there are.
    pub(super) records: u64,
    /// How many tree nodes there are.
    pub(super) nodes: u64,
}

/// Checks the archive of `did`'s repo and hands out what is in it, chunk by chunk: all of it if the result is good. What
/// is in the archive besides the repo is ignored, as the specification asks.
///
/// `max_bytes` bounds the values of all records. An error of `emit` ends the check.
pub(super) fn check(
    spool: &Spool,
    did: &Did,
    max_bytes: u64,
    emit: impl FnMut(Chunk) -> Result<(), ImportError>,
) -> Result<Checked, ImportError> {
    let commit = spool.find(&spool.root)?.ok_or(ImportError::MissingBlock(spool.root))?;
    let commit = Commit::decode(&commit).map_err(ImportError::Commit)?;
    if commit.did != *did {
        return Err(ImportError::WrongDid(commit.did));
    }
    let source = SpooledNodes { spool, failure: RefCell::default() };
    let mut out = Output { chunk: Chunk::default(), nodes: 0, emit };
    let (mut records, mut left, mut builder) = (0, max_bytes, Builder::default());
    let mut walker = Walker::new(commit.data);
    while let Some(step) = walker.next(&source).map_err(|error| source.explain(error))? {
        let Step::Entry(entry) = step else { continue };
        let (record, blobs) = read_record(spool, &entry)?;
        left = left.checked_sub(record.value.len() as u64).ok_or(ImportError::TooLarge)?;
        records += 1;
        out.push_record(record, &blobs);
        builder.push(entry.key, entry.value, &mut |node| out.push_node(node)).map_err(ImportError::Tree)?;
        out.flush_if_full()?;
    }
    // The tree built anew from its entries is the one tree they allow.
    if builder.finish(|node| out.push_node(node)) != commit.data {
        return Err(ImportError::Root);
    }
    let nodes = out.finish()?;
    Ok(Checked { rev: commit.rev, root: commit.data, records, nodes })
}

/// The nodes in the archive. What is wrong with one is kept for [`SpooledNodes::explain`].
struct SpooledNodes<'a> {
    spool: &'a Spool,
    failure: RefCell<Option<ImportError>>,
}

impl BlockSource for SpooledNodes<'_> {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        self.load(cid).map_err(|error| self.failure.replace(Some(error))).ok()
    }
}

impl SpooledNodes<'_> {
    fn load(&self, cid: &Cid) -> Result<Arc<Node>, ImportError> {
        let block = self.spool.find(cid)?.ok_or(ImportError::MissingBlock(*cid))?;
        if block.len() > MAX_NODE_LEN {
            return Err(ImportError::NodeTooLarge(*cid));
        }
        Node::decode(&block).map(Arc::new).map_err(|error| ImportError::Node(*cid, error))
    }

    fn explain(&self, error: mst::Error) -> ImportError {
        self.failure.take().unwrap_or(ImportError::Tree(error))
    }
}

/// A record, and the blobs it refers to.
fn read_record(spool: &Spool, entry: &Entry) -> Result<(CheckedRecord, BTreeSet<Cid>), ImportError> {
    let fail = |reason: String| ImportError::Record { path: entry.key.clone(), reason };
    let collection: Nsid = entry.key.collection().parse().map_err(|_| fail("invalid collection".to_owned()))?;
    let rkey: RecordKey = entry.key.rkey().parse().map_err(|_| fail("invalid record key".to_owned()))?;
    if entry.value.codec() != Codec::DagCbor {
        return Err(fail("not DAG-CBOR".to_owned()));
    }
    let value = spool.find(&entry.value)?.ok_or(ImportError::MissingBlock(entry.value))?;
    let fields = data::cbor::decode(&value).map_err(|error| fail(error.to_string()))?;
    if !matches!(fields, Ipld::Map(_)) {
        return Err(fail("not an object".to_owned()));
    }
    let target = link_target(&collection, &fields);
    let blobs = data::find_blobs(&fields).iter().map(RecordBlob::cid).collect();
    Ok((CheckedRecord { collection, rkey, cid: entry.value, value, target }, blobs))
}

/// Gathers chunks.
struct Output<F> {
    chunk: Chunk,
    nodes: u64,
    emit: F,
}

impl<F: FnMut(Chunk) -> Result<(), ImportError>> Output<F> {
    fn push_record(&mut self, record: CheckedRecord, blobs: &BTreeSet<Cid>) {
        self.chunk.bytes += record.value.len();
        self.chunk.blobs.extend(blobs.iter().map(|cid| Reference {
            cid: *cid,
            collection: record.collection.clone(),
            rkey: record.rkey.clone(),
        }));
        self.chunk.records.push(record);
    }

    fn push_node(&mut self, node: mst::NewNode) {
        self.nodes += 1;
        self.chunk.bytes += node.bytes.len();
        self.chunk.nodes.push((node.cid, node.bytes));
    }

    fn flush_if_full(&mut self) -> Result<(), ImportError> {
        let Chunk { records, blobs, nodes, bytes } = &self.chunk;
        let rows = records.len() + blobs.len() + nodes.len();
        if rows < CHUNK_ROWS && *bytes < CHUNK_BYTES {
            return Ok(());
        }
        (self.emit)(std::mem::take(&mut self.chunk))
    }

    /// Emits what is left; gives the number of nodes.
    fn finish(mut self) -> Result<u64, ImportError> {
        (self.emit)(self.chunk)?;
        Ok(self.nodes)
    }
}
