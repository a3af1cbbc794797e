//! Tree nodes: a cache in memory in front of Postgres, and the loop that feeds the synchronous tree code from both.

use std::collections::HashMap;
use std::sync::Arc;

use atproto::data::Cid;
use atproto::mst::{self, BlockSource, Node};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::store::{self, StoredNode};
use crate::db::{AccountId, PgPool};

/// Bytes of memory for nodes.
const CACHE_BYTES: u64 = 128 * 1024 * 1024;
/// A guess for sizing the cache's index.
const NODE_BYTES: u64 = 1000;

/// Why the tree could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeError {
    /// The tree names a node that is not stored: a newer commit dropped it, or the repo is damaged.
    #[error("tree node {0} is not stored")]
    Gone(Cid),
    /// A stored node has other bytes than its CID says.
    #[error("tree node {0} is damaged")]
    Altered(Cid),
    /// A stored node is not a node.
    #[error("tree node {0}: {1}")]
    Undecodable(Cid, mst::NodeError),
    /// The tree code refused.
    #[error(transparent)]
    Tree(mst::Error),
    #[error("tree storage failed")]
    Storage(#[from] sqlx::Error),
}

#[derive(Clone)]
struct ByNodeSize;

impl Weighter<Cid, Arc<Node>> for ByNodeSize {
    fn weight(&self, _: &Cid, node: &Arc<Node>) -> u64 {
        u64::try_from(node.memory_size()).unwrap_or(u64::MAX)
    }
}

/// Nodes by CID. They are immutable, so a cached one is never stale, and two repos may share one.
#[derive(Clone)]
pub(super) struct NodeStore {
    cache: Arc<Cache<Cid, Arc<Node>, ByNodeSize>>,
    pool: PgPool,
}

/// The nodes of one operation: those it loaded itself cannot be evicted from under it.
pub(super) struct WorkingSet<'a> {
    store: &'a NodeStore,
    /// Of commits that are not stored yet.
    pending: &'a HashMap<Cid, Arc<Node>>,
    loaded: HashMap<Cid, Arc<Node>>,
}

impl BlockSource for WorkingSet<'_> {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        let known = self.loaded.get(cid).or_else(|| self.pending.get(cid)).cloned();
        known.or_else(|| self.store.cache.get(cid))
    }
}

impl NodeStore {
    pub(super) fn new(pool: PgPool) -> Self {
        Self::with_capacity(pool, CACHE_BYTES)
    }

    /// A store that keeps so many bytes of nodes in memory.
    pub(super) fn with_capacity(pool: PgPool, bytes: u64) -> Self {
        let nodes = usize::try_from(bytes / NODE_BYTES).unwrap_or(usize::MAX);
        Self { cache: Arc::new(Cache::with_weighter(nodes.max(1), bytes, ByNodeSize)), pool }
    }

    /// Remembers a node that was just committed.
    pub(super) fn insert(&self, cid: Cid, node: Arc<Node>) {
        self.cache.insert(cid, node);
    }

    /// Runs `work` on a repo's tree, again after each load of the nodes it found missing. Ends: every round but the last
    /// loads at least one node that was not there before, and the tree code bounds the tree's height.
    pub(super) async fn run<T>(
        &self,
        account: AccountId,
        work: impl FnMut(&WorkingSet<'_>) -> Result<T, mst::Error>,
    ) -> Result<T, NodeError> {
        self.run_on(account, &HashMap::new(), work).await
    }

    /// As [`NodeStore::run`], on a tree that has `pending` nodes, which are not stored yet.
    pub(super) async fn run_on<T>(
        &self,
        account: AccountId,
        pending: &HashMap<Cid, Arc<Node>>,
        mut work: impl FnMut(&WorkingSet<'_>) -> Result<T, mst::Error>,
    ) -> Result<T, NodeError> {
        let mut nodes = WorkingSet { store: self, pending, loaded: HashMap::new() };
        loop {
            match work(&nodes) {
                Ok(result) => return Ok(result),
                Err(mst::Error::Missing(cids)) => {
                    let loaded = self.load(account, &cids).await?;
                    nodes.loaded.extend(loaded);
                }
                Err(error) => return Err(NodeError::Tree(error)),
            }
        }
    }

    async fn load(&self, account: AccountId, cids: &[Cid]) -> Result<HashMap<Cid, Arc<Node>>, NodeError> {
        let mut conn = self.pool.acquire().await?;
        let rows = store::list_nodes(&mut conn, account, cids).await?;
        let mut loaded = HashMap::with_capacity(rows.len());
        for StoredNode { cid, bytes, .. } in rows {
            // A node stays in memory under its name long after the stored one has been mended: it must be the right one.
            if !cid.verifies(&bytes) {
                return Err(NodeError::Altered(cid));
            }
            let node = Node::decode(&bytes).map_err(|error| NodeError::Undecodable(cid, error))?;
            let node = Arc::new(node);
            self.insert(cid, Arc::clone(&node));
            loaded.insert(cid, node);
        }
        match cids.iter().find(|cid| !loaded.contains_key(cid)) {
            Some(gone) => Err(NodeError::Gone(*gone)),
            None => Ok(loaded),
        }
    }
}
