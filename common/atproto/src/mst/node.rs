//! One node of the tree: its form in memory and its block.

use bytes::Bytes;
use std::sync::Arc;

use super::key::{Key, KeyError, MAX_KEY_LEN, common_prefix};
use crate::data::Cid;
use crate::wire::{Reader, WireError, Writer};

/// Largest block read as a node, in bytes: a larger one fits no `#commit`, so its keys could never be written again.
pub const MAX_NODE_LEN: usize = 2_000_000;

/// Bytes of an entry beside its key: head, field names, prefix and key length, two CIDs.
const ENTRY_OVERHEAD: usize = 100;

/// A decoded node, its keys restored from their compressed form. Never changed: an edit makes new nodes.
///
/// The keys of a node all have the same depth, the node's layer, and lie in ascending order. Between them, before the
/// first and behind the last there may be a subtree, one layer lower, that holds the keys in that gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    layer: Option<u8>,
    entries: Vec<Entry>,
    /// One more than entries: `subtrees[i]` holds the keys before entry `i`, the last one those behind all.
    subtrees: Vec<Option<Cid>>,
}

/// A record's place in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Path of the record.
    pub key: Key,
    /// CID of the record.
    pub value: Cid,
}

/// A node together with its block.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// CID of `bytes`.
    pub cid: Cid,
    /// The node itself, for a cache.
    pub node: Arc<Node>,
    /// The node's block.
    pub bytes: Bytes,
}

/// Why a block is not a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Longer than [`MAX_NODE_LEN`].
    #[error("tree node is longer than {MAX_NODE_LEN} bytes")]
    Length,
    /// Not the DAG-CBOR of a node.
    #[error("tree node is not canonical DAG-CBOR")]
    Encoding(#[from] WireError),
    /// A key shares more or fewer bytes with the key before it than it says.
    #[error("tree node has a wrong prefix length")]
    Prefix,
    /// A key is not above the key before it.
    #[error("tree node has keys out of order")]
    Order,
    /// A key is not a record path.
    #[error("tree node has an invalid key")]
    Key(#[from] KeyError),
    /// The keys are of different depths, or of depth 0 with a subtree beside them.
    #[error("tree node has keys or subtrees of another layer")]
    Layer,
}

impl Node {
    /// The tree without records: one node with nothing in it.
    pub fn empty() -> Self {
        Self { layer: None, entries: Vec::new(), subtrees: vec![None] }
    }

    /// A node from parts known to be in order: `layer` is the depth of every key, and there is one more subtree than
    /// entries.
    pub(super) fn from_parts(layer: u8, entries: Vec<Entry>, subtrees: Vec<Option<Cid>>) -> Self {
        debug_assert_eq!(subtrees.len(), entries.len() + 1);
        Self { layer: if entries.is_empty() { None } else { Some(layer) }, entries, subtrees }
    }

    /// The depth of the node's keys; `None` if it has none and only leads to a subtree.
    pub fn layer(&self) -> Option<u8> {
        self.layer
    }

    /// The node's own entries, ascending.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The subtrees, one more than there are entries: the one at `i` lies before entry `i`.
    pub fn subtrees(&self) -> &[Option<Cid>] {
        &self.subtrees
    }

    /// True for the node of the tree without records.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.subtrees == [None]
    }

    /// Bytes of memory that the node takes, more or less. They may be many times those of its block, in which keys share
    /// prefixes.
    pub fn memory_size(&self) -> usize {
        /// What an `Arc` keeps beside its text.
        const COUNTS: usize = 2 * size_of::<usize>();
        let keys: usize = self.entries.iter().map(|entry| entry.key.as_str().len() + COUNTS).sum();
        let entries = self.entries.capacity() * size_of::<Entry>();
        let subtrees = self.subtrees.capacity() * size_of::<Option<Cid>>();
        size_of::<Self>() + entries + subtrees + keys
    }

    /// Index of the first entry that is not below `key`, and so of the subtree that would hold `key`, and whether
    /// that entry is `key` itself.
    pub(super) fn find(&self, key: &Key) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key))
    }

    /// The node's block. The same node always gives the same bytes.
    ///
    /// Shape: `{e: [{k: bytes, p: int, t: CID or null, v: CID}], l: CID or null}`, where `l` is the first subtree, and
    /// of each entry `p` counts the bytes shared with the key before, `k` is the rest of the key, `v` the record and
    /// `t` the subtree behind it.
    pub fn encode(&self) -> Vec<u8> {
        let keys: usize = self.entries.iter().map(|entry| entry.key.as_str().len()).sum();
        let mut writer = Writer::with_capacity(keys + (self.entries.len() + 1) * ENTRY_OVERHEAD);
        writer.map(2).text("e").array(self.entries.len());
        let mut previous: &[u8] = b"";
        for (entry, subtree) in self.entries.iter().zip(self.subtrees.iter().skip(1)) {
            let key = entry.key.as_str().as_bytes();
            let prefix = common_prefix(previous, key);
            writer.map(4).text("k").bytes(&key[prefix..]).text("p").count(prefix);
            writer.text("t").optional_cid(subtree.as_ref()).text("v").cid(&entry.value);
            previous = key;
        }
        writer.text("l").optional_cid(self.subtrees.first().and_then(Option::as_ref));
        writer.finish()
    }

    /// Reads a block. Accepts exactly what [`Node::encode`] writes, so the result encodes to the same bytes again.
    ///
    /// A node without entries is read whether or not it has a subtree: whether it may stand where it stands only its
    /// surroundings tell. Needs memory of at most about 25 times the block, for keys that share long prefixes.
    pub fn decode(block: &[u8]) -> Result<Self, NodeError> {
        if block.len() > MAX_NODE_LEN {
            return Err(NodeError::Length);
        }
        let mut reader = Reader::new(block);
        let count = reader.fields(2)?.key("e")?.array()?;
        let (mut entries, mut subtrees) = (Vec::with_capacity(count.min(64)), Vec::with_capacity(count.min(64) + 1));
        subtrees.push(None);
        let (mut layer, mut path) = (None, Vec::new());
        for _ in 0..count {
            let (entry, subtree) = read_entry(&mut reader, &mut path)?;
            let depth = entry.key.depth();
            if *layer.get_or_insert(depth) != depth {
                return Err(NodeError::Layer);
            }
            entries.push(entry);
            subtrees.push(subtree);
        }
        subtrees[0] = reader.key("l")?.optional_cid()?;
        reader.finish()?;
        if layer == Some(0) && subtrees.iter().any(Option::is_some) {
            return Err(NodeError::Layer);
        }
        Ok(Self { layer, entries, subtrees })
    }
}

impl NewNode {
    /// Encodes and hashes a node.
    pub fn new(node: Node) -> Self {
        let bytes = Bytes::from(node.encode());
        Self { cid: Cid::dag_cbor(&bytes), node: Arc::new(node), bytes }
    }
}

/// Reads one entry and the subtree behind it. `path` holds the key before and is left holding this one.
fn read_entry(reader: &mut Reader<'_>, path: &mut Vec<u8>) -> Result<(Entry, Option<Cid>), NodeError> {
    let suffix = reader.fields(4)?.key("k")?.bytes()?;
    let prefix = usize::try_from(reader.key("p")?.int()?)
        .ok()
        .filter(|prefix| *prefix <= path.len())
        .ok_or(NodeError::Prefix)?;
    // Where the key before goes on behind the shared part, this one must go on with a larger byte: with the same byte
    // the shared part would be longer, with a smaller one the keys would be out of order.
    match (suffix.first(), path.get(prefix)) {
        (None, _) => return Err(NodeError::Order),
        (Some(new), Some(old)) if new == old => return Err(NodeError::Prefix),
        (Some(new), Some(old)) if new < old => return Err(NodeError::Order),
        _ => {}
    }
    if prefix + suffix.len() > MAX_KEY_LEN {
        return Err(KeyError::Length.into());
    }
    path.truncate(prefix);
    path.extend_from_slice(suffix);
    let key = std::str::from_utf8(path).map_err(|_| KeyError::Character)?.parse()?;
    let subtree = reader.key("t")?.optional_cid()?;
    let value = reader.key("v")?.cid()?;
    Ok((Entry { key, value }, subtree))
}
