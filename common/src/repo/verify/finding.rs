//! What may be wrong with a repo.

use serde::Serialize;

/// One thing that does not fit. Its text is for people, its fields are for programs.
///
/// Everything that comes from a damaged row is text, for it may be anything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Finding {
    /// `repo.head`, `repo.rev` or `repo.root` is no CID or TID.
    #[error("repo.{column} is malformed")]
    HeadColumn {
        /// The column.
        column: &'static str,
    },
    /// The stored commit is another one than the head says.
    #[error("the stored commit is not the block that the head {head} names")]
    CommitHash {
        /// CID of the head.
        head: String,
    },
    /// The stored commit is none.
    #[error("the stored commit cannot be read: {reason}")]
    CommitMalformed {
        /// Why.
        reason: String,
    },
    /// The commit is of another account.
    #[error("the commit belongs to {found}")]
    CommitDid {
        /// The account it names.
        found: String,
    },
    /// The commit and the head disagree on the rev.
    #[error("the commit has the rev {commit}, but repo.rev is {stored}")]
    CommitRev {
        /// What is in the commit.
        commit: String,
        /// What is in the column.
        stored: String,
    },
    /// The commit and the head disagree on the tree.
    #[error("the commit names the tree {commit}, but repo.root is {stored}")]
    CommitRoot {
        /// What is in the commit.
        commit: String,
        /// What is in the column.
        stored: String,
    },
    /// The account has no public key that can be read.
    #[error("the account has no usable signing key")]
    SigningKey,
    /// The commit is not signed with the account's key.
    #[error("the commit is not signed with the account's key")]
    Signature,
    /// `repo.record_count` is wrong.
    #[error("repo.record_count is {stored}, but there are {counted} records")]
    Count {
        /// What is in the column.
        stored: i64,
        /// How many there are.
        counted: u64,
    },
    /// A record whose collection or key is none.
    #[error("record {path}: this is no path of a record")]
    RecordPath {
        /// Collection and key.
        path: String,
    },
    /// A record whose bytes are not those its CID names.
    #[error("record {path}: its bytes are not those that {cid} names")]
    RecordHash {
        /// Collection and key.
        path: String,
        /// The stored CID.
        cid: String,
    },
    /// A record whose bytes are no canonical DAG-CBOR.
    #[error("record {path}: {reason}")]
    RecordEncoding {
        /// Collection and key.
        path: String,
        /// Why.
        reason: String,
    },
    /// A record whose rev is malformed, or above that of the newest commit.
    #[error("record {path}: the rev {rev} cannot be")]
    RecordRev {
        /// Collection and key.
        path: String,
        /// The rev.
        rev: String,
    },
    /// A record that the tree names and nobody has.
    #[error("record {path}: the tree names it ({cid}), but it is not stored")]
    RecordMissing {
        /// Collection and key.
        path: String,
        /// CID in the tree.
        cid: String,
    },
    /// A record that the tree does not name.
    #[error("record {path}: stored, but the tree does not name it")]
    RecordSurplus {
        /// Collection and key.
        path: String,
    },
    /// A record of which the tree names another version.
    #[error("record {path}: stored is {stored}, but the tree names {tree}")]
    RecordOther {
        /// Collection and key.
        path: String,
        /// The stored CID.
        stored: String,
        /// CID in the tree.
        tree: String,
    },
    /// A node of the tree that is not stored.
    #[error("tree node {cid}: not stored")]
    NodeMissing {
        /// The node.
        cid: String,
    },
    /// A node of the tree whose bytes are not those its CID names.
    #[error("tree node {cid}: its bytes are other ones")]
    NodeAltered {
        /// The node.
        cid: String,
    },
    /// A stored node to which the tree does not lead.
    #[error("tree node {cid}: stored, but the tree does not lead to it")]
    NodeSurplus {
        /// The node.
        cid: String,
    },
    /// A node whose rev is malformed, or above that of the newest commit.
    #[error("tree node {cid}: the rev {rev} cannot be")]
    NodeRev {
        /// The node.
        cid: String,
        /// The rev.
        rev: String,
    },
    /// A record whose link is not stored.
    #[error("link of {path}: not stored, should lead to {target}")]
    LinkMissing {
        /// Collection and key.
        path: String,
        /// What the record points at.
        target: String,
    },
    /// A link without a record that points there.
    #[error("link of {path}: leads to {target}, but no such record points there")]
    LinkStray {
        /// Collection and key.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A link that leads elsewhere than its record.
    #[error("link of {path}: leads to {stored}, should lead to {target}")]
    LinkOther {
        /// Collection and key.
        path: String,
        /// Where it leads.
        stored: String,
        /// What the record points at.
        target: String,
    },
    /// A blob that a record refers to, and that is not noted for it.
    #[error("blob of {path}: the record refers to {cid}, which is not noted")]
    BlobMissing {
        /// Collection and key.
        path: String,
        /// The blob.
        cid: String,
    },
    /// A blob noted for a record that does not refer to it, or is not there.
    #[error("blob of {path}: {cid} is noted, but no such record refers to it")]
    BlobStray {
        /// Collection and key.
        path: String,
        /// The blob.
        cid: String,
    },
    /// A collection with records that is not noted as one of the repo's.
    #[error("collection {collection}: has records, but is not noted")]
    CollectionMissing {
        /// The collection.
        collection: String,
    },
    /// A noted collection without records.
    #[error("collection {collection}: is noted, but has no records")]
    CollectionStray {
        /// The collection.
        collection: String,
    },
}

impl Finding {
    /// True if a record is lost, or cannot be trusted: what only a backup can bring back.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::RecordPath { .. }
                | Self::RecordHash { .. }
                | Self::RecordEncoding { .. }
                | Self::RecordMissing { .. }
                | Self::RecordOther { .. }
        )
    }
}

/// Findings to list, at most; a repo that lost its tree has as many as nodes.
const LISTED: usize = 1000;

/// All that was found. The first thousand are kept, the others counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    limit: usize,
    listed: Vec<Finding>,
    unlisted: u64,
    losses: u64,
}

impl Default for Findings {
    fn default() -> Self {
        Self { limit: LISTED, listed: Vec::new(), unlisted: 0, losses: 0 }
    }
}

impl Findings {
    /// Keeps all of them: for whoever means to act on each.
    pub(in crate::repo) fn without_limit() -> Self {
        Self { limit: usize::MAX, ..Self::default() }
    }

    pub(in crate::repo) fn push(&mut self, finding: Finding) {
        self.losses += u64::from(finding.is_loss());
        if self.listed.len() < self.limit {
            self.listed.push(finding);
        } else {
            self.unlisted += 1;
        }
    }

    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        u64::try_from(self.listed.len()).unwrap_or(u64::MAX).saturating_add(self.unlisted)
    }

    /// The first thousand.
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// How many more there are.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// How many of all are losses: see [`Finding::is_loss`].
    pub fn losses(&self) -> u64 {
        self.losses
    }
}
