//! Checks an exported repo as a stranger would who trusts nobody.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use atproto::car;
use atproto::commit::Commit;
use atproto::crypto::PublicKey;
use atproto::data::Cid;
use atproto::mst::{Node, Step, Walker};
use atproto::syntax::Did;

/// What an archive holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Repo {
    /// CID of the commit.
    pub(crate) head: Cid,
    /// The commit.
    pub(crate) commit: Commit,
    /// CIDs of the records by path.
    pub(crate) records: BTreeMap<String, Cid>,
}

/// Verifies a whole repo: block hashes, the commit's signature, the shape of the tree, and that every block of it is there
/// and none besides.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verify(archive: &[u8], did: &Did, key: &PublicKey) -> Result<Repo> {
    let (head, blocks) = car::read(archive)?;
    let mut blocks: HashMap<Cid, bytes::Bytes> = blocks.into_iter().collect();
    let commit = Commit::decode(&blocks.remove(&head).context("no commit")?)?;
    ensure!(commit.did == *did, "the commit is of {}", commit.did);
    commit.verify(key)?;

    let nodes: HashMap<Cid, Arc<Node>> =
        blocks.iter().filter_map(|(cid, block)| Some((*cid, Arc::new(Node::decode(block).ok()?)))).collect();
    let mut records = BTreeMap::new();
    let mut walker = Walker::new(commit.data);
    while let Some(step) = walker.next(&nodes)? {
        match step {
            Step::Node { cid, .. } => _ = blocks.remove(&cid),
            Step::Entry(entry) => _ = records.insert(entry.key.to_string(), entry.value),
        }
    }
    let values: HashSet<Cid> = records.values().copied().collect();
    ensure!(values.iter().all(|cid| blocks.contains_key(cid)), "a record's block is missing");
    blocks.retain(|cid, _| !values.contains(cid));
    ensure!(blocks.is_empty(), "{} blocks that the tree does not name", blocks.len());
    Ok(Repo { head, commit, records })
}
