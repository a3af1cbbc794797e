//! Archives of repos that never were, as another server might export them.

use std::collections::BTreeMap;

use atproto::car;
use atproto::commit::{Commit, UnsignedCommit};
use atproto::crypto::SigningKey;
use atproto::data::{self, Cid, Ipld};
use atproto::mst::{self, Key};
use atproto::syntax::{Did, Tid};
use bytes::Bytes;

/// The blocks of a whole repo, by what they are.
#[derive(Clone, Debug)]
pub struct RepoArchive {
    /// The commit, signed with a key that nobody knows.
    pub commit: Commit,
    /// The tree's nodes; the root is the last.
    pub nodes: Vec<(Cid, Bytes)>,
    /// The records by path.
    pub records: BTreeMap<Key, (Cid, Bytes)>,
}

impl RepoArchive {
    /// The repo of `did` with these records, as of 2024.
    ///
    /// # Panics
    /// If a path is none, or a value cannot be encoded.
    pub fn new(did: &Did, records: impl IntoIterator<Item = (String, Ipld)>) -> Self {
        let encode = |value| Bytes::from(data::cbor::encode(&value).expect("a record"));
        let encoded = records.into_iter().map(|(path, value)| (path.parse().expect("a path"), encode(value)));
        Self::of_blocks(did, encoded.collect())
    }

    /// As [`RepoArchive::new`], of whatever bytes for records.
    ///
    /// # Panics
    /// Never: the keys of a map are in order.
    pub fn of_blocks(did: &Did, records: BTreeMap<Key, Bytes>) -> Self {
        let records: BTreeMap<Key, (Cid, Bytes)> =
            records.into_iter().map(|(path, block)| (path, (Cid::dag_cbor(&block), block))).collect();
        let mut nodes = Vec::new();
        let entries = records.iter().map(|(path, (cid, _))| (path.clone(), *cid));
        let data = mst::build(entries, |node| nodes.push((node.cid, node.bytes))).expect("keys in order");
        Self { commit: commit(did, data), nodes, records }
    }

    /// The same archive with another tree's root.
    #[must_use]
    pub fn with_data(self, data: Cid) -> Self {
        Self { commit: commit(&self.commit.did, data), ..self }
    }

    /// All blocks: the commit, the tree, the records.
    pub fn blocks(&self) -> Vec<(Cid, Bytes)> {
        let mut blocks = vec![self.commit.to_block()];
        blocks.extend(self.nodes.iter().rev().cloned());
        blocks.extend(self.records.values().cloned());
        blocks
    }

    /// The archive's bytes.
    pub fn to_car(&self) -> Bytes {
        to_car(&self.commit.to_block().0, &self.blocks())
    }
}

/// An archive of any blocks.
pub fn to_car(root: &Cid, blocks: &[(Cid, Bytes)]) -> Bytes {
    car::archive(root, blocks.iter().map(|(cid, block)| (cid, &block[..])))
}

fn commit(did: &Did, data: Cid) -> Commit {
    let key = SigningKey::from_bytes(&[9; 32]).expect("a key");
    UnsignedCommit { did: did.clone(), rev: Tid::from_micros(1_704_067_200_000_000, 0), data }.sign(&key)
}
