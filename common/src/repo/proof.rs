//! Parts of a repo with proof: single records, blocks by CID.

use std::collections::HashMap;

use atproto::car;
use atproto::data::Cid;
use atproto::mst::{self, Key};
use bytes::{Bytes, BytesMut};

use super::nodes::NodeError;
use super::prepare::RecordPath;
use super::{Repos, store};
use crate::db::AccountId;

/// Tries of a read whose tree a commit changed meanwhile.
const ATTEMPTS: u32 = 8;

/// Bytes of records that one call for blocks may ask for: the answer is made in memory.
const MAX_BLOCKS_LEN: i64 = 16 * 1024 * 1024;

/// Why no archive was made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The repo is gone.
    #[error("Could not find repo")]
    RepoNotFound,
    /// Some blocks are not in the repo.
    #[error("Could not find cids: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))]
    BlocksNotFound(Vec<Cid>),
    /// The blocks are too many bytes for one answer.
    #[error("Too many blocks at once: more than {MAX_BLOCKS_LEN} bytes")]
    TooBig,
    /// The stored tree is damaged.
    #[error("repo is damaged: {0}")]
    Damaged(String),
    /// Postgres failed.
    #[error("repo storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Repos {
    /// A CAR of the commit, the tree nodes on the way to `path`, and the record; without it, the nodes prove its absence.
    ///
    /// Source: com.atproto.sync.getRecord.
    pub async fn record_proof(&self, account: AccountId, path: &RecordPath) -> Result<Bytes, ProofError> {
        let key = Key::new(&path.collection, &path.rkey);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match self.try_record_proof(account, &key).await {
                // A commit dropped a node, or the record, between our reads.
                Err(Attempt::Moved(cid)) => last = Some(cid),
                Err(Attempt::Failed(error)) => return Err(error),
                Ok(archive) => return Ok(archive),
            }
        }
        Err(ProofError::Damaged(last.map_or_else(String::new, |cid| format!("block {cid} is not stored"))))
    }

    async fn try_record_proof(&self, account: AccountId, key: &Key) -> Result<Bytes, Attempt> {
        let (head, commit_block) = {
            let mut conn = self.pool.acquire().await?;
            store::find_commit(&mut conn, account).await?.ok_or(ProofError::RepoNotFound)?
        };
        let (nodes, record) = self
            .nodes
            .run(account, |source| Ok((mst::path_proof(&head.root, key, source)?, mst::get(&head.root, key, source)?)))
            .await?;
        let mut archive = BytesMut::new();
        archive.extend_from_slice(&car::header(&head.cid));
        car::section(&head.cid, &commit_block, &mut archive);
        for (cid, block) in &nodes {
            car::section(cid, block, &mut archive);
        }
        if let Some(cid) = record {
            let values = store::list_values(&mut *self.pool.acquire().await?, account, &[cid]).await?;
            let (_, value) = values.first().ok_or(Attempt::Moved(cid))?;
            car::section(&cid, value, &mut archive);
        }
        Ok(archive.freeze())
    }

    /// A CAR of the blocks with these CIDs, rooted at the newest commit.
    ///
    /// # Errors
    /// `BlocksNotFound` names all that are not in the repo now. `TooBig` above 16 MiB.
    ///
    /// Source: com.atproto.sync.getBlocks.
    pub async fn blocks(&self, account: AccountId, cids: &[Cid]) -> Result<Bytes, ProofError> {
        let mut conn = self.pool.acquire().await?;
        let (head, commit_block) = store::find_commit(&mut conn, account).await?.ok_or(ProofError::RepoNotFound)?;
        let mut found: HashMap<Cid, Vec<u8>> = HashMap::from([(head.cid, commit_block)]);
        if store::sum_value_bytes(&mut conn, account, cids).await? > MAX_BLOCKS_LEN {
            return Err(ProofError::TooBig);
        }
        let nodes = store::list_nodes(&mut conn, account, cids).await?;
        found.extend(nodes.into_iter().map(|node| (node.cid, node.bytes)));
        found.extend(store::list_values(&mut conn, account, cids).await?);
        drop(conn);

        let missing: Vec<Cid> = cids.iter().filter(|cid| !found.contains_key(cid)).copied().collect();
        if !missing.is_empty() {
            return Err(ProofError::BlocksNotFound(missing));
        }
        let mut archive = BytesMut::new();
        archive.extend_from_slice(&car::header(&head.cid));
        for cid in cids {
            // Once each, though a client may ask twice.
            if let Some(block) = found.remove(cid) {
                car::section(cid, &block, &mut archive);
            }
        }
        Ok(archive.freeze())
    }
}

/// Why one try failed.
enum Attempt {
    /// The tree changed under it.
    Moved(Cid),
    Failed(ProofError),
}

impl<E: Into<ProofError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<NodeError> for Attempt {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Gone(cid) => Self::Moved(cid),
            NodeError::Storage(error) => Self::Failed(ProofError::Storage(error)),
            error @ (NodeError::Tree(_) | NodeError::Undecodable(..) | NodeError::Altered(_)) => {
                Self::Failed(ProofError::Damaged(error.to_string()))
            }
        }
    }
}
