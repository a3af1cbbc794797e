//! Checking stored repos: does everything that is kept of a repo fit together?
//!
//! The records are the truth. From them the tree is derived again, and everything else is held against it:
//!
//! 1. `scan` goes through the records in key order: bytes, CIDs, links, references
//!    to blobs. It builds the tree they make and keeps of each node its hash only.
//! 2. If that tree is not the one the commit names, `diff` walks through the parts in which the two differ, and names the
//!    records that are missing, different or too many.
//! 3. `nodes` goes through the stored nodes in the order of their CIDs and holds them against those that are live.
//!
//! 4. The collections that are noted of the repo are held against those of the records.
//!
//! All of it happens in one snapshot, so a repo can be checked while it is written. In memory are a page of rows and some 40
//! bytes a tree node: about 15 MB for a repo of a million records.

mod beside;
mod diff;
mod finding;
mod head;
mod nodes;
pub(super) mod pages;
pub(super) mod scan;
mod store;
mod tree;

use atproto::crypto::PublicKey;
use atproto::syntax::Did;
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

pub use finding::{Finding, Findings};

use crate::db::{AccountId, PgPool};

/// A repo to check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepoRef {
    /// The account it belongs to.
    pub account: AccountId,
    /// The account's DID.
    pub did: Did,
}

/// What a check came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The repo.
    pub repo: RepoRef,
    /// CID of its newest commit, in binary form, as it is stored.
    pub head: Vec<u8>,
    /// Its rev, as it is stored.
    pub rev: String,
    /// Records stored.
    pub records: u64,
    /// Tree nodes stored.
    pub nodes: u64,
    /// What is wrong; empty if the repo is sound.
    pub findings: Findings,
}

/// Checks the repos in a database. Reads only; needs no key.
#[derive(Clone, Debug)]
pub struct Verifier {
    pool: PgPool,
}

impl Verifier {
    /// A checker of the repos in this database. Each check holds a connection for as long as it takes.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The repo of this DID; `None` if there is none.
    pub async fn find(&self, did: &Did) -> sqlx::Result<Option<RepoRef>> {
        store::find_repo(&mut *self.pool.acquire().await?, did).await
    }

    /// The public key that signs the commits of this DID; `None` if it has no account here, or no usable key.
    pub async fn find_public_key(&self, did: &Did) -> sqlx::Result<Option<PublicKey>> {
        let key = store::find_public_key(&mut *self.pool.acquire().await?, did).await?;
        Ok(key.and_then(|key| key.parse().ok()))
    }

    /// A page of all repos in the order of their accounts' numbers, from after `after`.
    pub async fn list(&self, after: Option<AccountId>, limit: u16) -> sqlx::Result<Vec<RepoRef>> {
        store::list_repos(&mut *self.pool.acquire().await?, after, i64::from(limit)).await
    }

    /// How many repos there are.
    pub async fn count(&self) -> sqlx::Result<u64> {
        let count = store::count_repos(&mut *self.pool.acquire().await?).await?;
        Ok(count.unsigned_abs())
    }

    /// Checks a repo as it is at this moment; `None` if it is gone.
    ///
    /// # Errors
    /// Only if Postgres fails: damage is a finding.
    pub async fn verify(&self, repo: &RepoRef) -> sqlx::Result<Option<Report>> {
        let mut conn = self.pool.acquire().await?;
        let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let report = verify(&mut snapshot, repo).await?;
        // Nothing was changed: how the transaction ends does not matter.
        let _ = snapshot.rollback().await;
        Ok(report)
    }
}

/// Checks a repo in the caller's snapshot, or under the lock of its row.
pub(super) async fn verify(conn: &mut PgConnection, repo: &RepoRef) -> sqlx::Result<Option<Report>> {
    let Some(row) = store::find_head(conn, repo.account).await? else { return Ok(None) };
    let mut findings = Findings::default();
    let head = head::check(&row, &repo.did, &mut findings);
    let scanned = scan::scan(conn, repo.account, &row.rev, &mut findings).await?;
    if i64::try_from(scanned.records) != Ok(row.record_count) {
        findings.push(Finding::Count { stored: row.record_count, counted: scanned.records });
    }
    let live = match head.root {
        Some(root) if root != scanned.tree.root() => {
            diff::compare(conn, repo.account, root, &scanned.tree, &mut findings).await?
        }
        // A root that is not even a CID says nothing of the nodes: those of the records should be there.
        _ => nodes::Live::all_of(&scanned.tree),
    };
    let nodes = nodes::check(conn, repo.account, &row.rev, live, &mut findings).await?;
    check_collections(conn, repo.account, &mut findings).await?;
    Ok(Some(Report { repo: repo.clone(), head: row.head, rev: row.rev, records: scanned.records, nodes, findings }))
}

/// Holds the collections that are noted of a repo against those of its records.
async fn check_collections(conn: &mut PgConnection, account: AccountId, findings: &mut Findings) -> sqlx::Result<()> {
    let mut missing = store::list_missing_collections(conn, account);
    while let Some(collection) = missing.try_next().await? {
        findings.push(Finding::CollectionMissing { collection });
    }
    drop(missing);
    let mut stray = store::list_stray_collections(conn, account);
    while let Some(collection) = stray.try_next().await? {
        findings.push(Finding::CollectionStray { collection });
    }
    Ok(())
}
