//! Reading repos: status, records, collections, lists.

mod store;

use std::collections::HashMap;

use atproto::data::Cid;
use atproto::syntax::{Did, Nsid, RecordKey, Tid};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Repos;
use crate::db::{AccountId, Lookup};

/// Bytes of values on one page of a collection, unless its first record alone has more: the page is made in memory.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Values of at most so many bytes come with the rows of a page: a page of a hundred of them is within [`PAGE_BYTES`].
/// Longer ones, which are rare, are read in a second query, as far as they fit.
const INLINE_BYTES: i32 = 40 * 1024;

/// Whether a repo is open to everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RepoStatus {
    /// Readable by everybody.
    Active,
    /// Closed by the account's owner.
    Deactivated,
    /// Closed by a moderator; wins over deactivated.
    Takendown,
}

impl RepoStatus {
    pub(super) fn from_marks(taken_down: bool, deactivated: bool) -> Self {
        match (taken_down, deactivated) {
            (true, _) => Self::Takendown,
            (false, true) => Self::Deactivated,
            (false, false) => Self::Active,
        }
    }
}

/// A repo as it stands now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repo {
    /// The account it belongs to.
    pub account: AccountId,
    /// The account's DID.
    pub did: Did,
    /// CID of the newest commit.
    pub head: Cid,
    /// Rev of the newest commit.
    pub rev: Tid,
    /// Who may read it.
    pub status: RepoStatus,
}

/// A repo in a list of all repos.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedRepo {
    /// The account's DID.
    pub did: Did,
    /// When the account was made; with the DID the key of the list.
    pub created_at: DateTime<Utc>,
    /// CID of the newest commit.
    pub head: Cid,
    /// Rev of the newest commit.
    pub rev: Tid,
    /// Who may read it.
    pub status: RepoStatus,
}

/// A stored record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its key in the collection.
    pub rkey: RecordKey,
    /// CID of its value.
    pub cid: Cid,
    /// DAG-CBOR.
    pub value: Vec<u8>,
    /// Hidden by a moderator.
    pub taken_down: bool,
}

/// How much there is of a repo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepoCounts {
    /// Blocks: the commit, the tree's nodes, and the records, of which equal ones share a block.
    pub blocks: i64,
    /// Records.
    pub records: i64,
}

/// Which part of a collection to list.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Records at most.
    pub limit: u16,
    /// Key of the last record of the page before.
    pub cursor: Option<&'a RecordKey>,
    /// Oldest first; the usual order is newest first, that is by descending key.
    pub reverse: bool,
}

/// Records by their keys.
pub(super) struct RecordLookup;

impl Lookup for RecordLookup {
    /// They may have a megabyte each.
    const MOST: usize = 16;

    type Key = (AccountId, Nsid, RecordKey);
    type Row = Record;

    async fn find_all(conn: &mut PgConnection, keys: &[Self::Key]) -> sqlx::Result<Vec<Option<Record>>> {
        store::find_records(conn, keys).await
    }
}

impl Repos {
    /// The repo of this DID; `None` if it has no account here.
    pub async fn find(&self, did: &Did) -> sqlx::Result<Option<Repo>> {
        store::find_repo(&mut *self.pool.acquire().await?, did).await
    }

    /// How much there is of an account's repo. Reads an index of all its blocks.
    pub async fn count(&self, account: AccountId) -> sqlx::Result<RepoCounts> {
        store::count(&mut *self.pool.acquire().await?, account).await
    }

    /// A record, also if it is taken down. `None` if there is none, or the account is not active now.
    pub async fn find_record(
        &self,
        account: AccountId,
        collection: &Nsid,
        rkey: &RecordKey,
    ) -> sqlx::Result<Option<Record>> {
        self.records.find((account, collection.clone(), rkey.clone())).await
    }

    /// A page of a collection without taken-down records; empty if the account is not active now. It ends early, but not before its first record, where it would
    /// have more than 4 MiB; only the page after the last record is empty.
    pub async fn list_records(
        &self,
        account: AccountId,
        collection: &Nsid,
        page: Page<'_>,
    ) -> sqlx::Result<Vec<Record>> {
        let mut conn = self.pool.acquire().await?;
        loop {
            let mut rows = store::list_page(&mut conn, (account, collection), page, INLINE_BYTES).await?;
            rows.truncate(fitting(&rows));
            let large: Vec<&str> =
                rows.iter().filter(|row| row.value.is_none()).map(|row| row.rkey.0.as_str()).collect();
            let mut values = HashMap::new();
            if !large.is_empty() {
                let found = store::list_records_at(&mut conn, account, collection, &large).await?;
                values.extend(found.into_iter().map(|record| (record.rkey.clone(), record)));
            }
            let is_end = rows.is_empty();
            let records = rows.into_iter().filter_map(|row| match row.value {
                Some(value) => Some(Record { rkey: row.rkey.0, cid: row.cid.0, value, taken_down: false }),
                None => values.remove(&row.rkey.0),
            });
            let records: Vec<Record> = records.collect();
            // Else all of them were deleted meanwhile, and others may follow.
            if is_end || !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// The collections in which the repo has records, in order.
    pub async fn list_collections(&self, account: AccountId) -> sqlx::Result<Vec<Nsid>> {
        store::list_collections(&mut *self.pool.acquire().await?, account).await
    }

    /// A page of the active repos that have records in a collection, in the order their accounts were made, from after
    /// account `after`.
    ///
    /// Source: com.atproto.sync.listReposByCollection.
    pub async fn list_with_collection(
        &self,
        collection: &Nsid,
        after: Option<AccountId>,
        limit: u16,
    ) -> sqlx::Result<Vec<(AccountId, Did)>> {
        store::list_with_collection(&mut *self.pool.acquire().await?, collection, after, i64::from(limit)).await
    }

    /// A page of all repos of this server, inactive ones too, in the order their accounts were made.
    pub async fn list(&self, after: Option<(DateTime<Utc>, &str)>, limit: u16) -> sqlx::Result<Vec<ListedRepo>> {
        store::list_repos(&mut *self.pool.acquire().await?, after, i64::from(limit)).await
    }
}

/// How many rows make a page.
fn fitting(rows: &[store::PageRow]) -> usize {
    let mut bytes = 0_usize;
    let fits = |row: &&store::PageRow| {
        bytes = bytes.saturating_add(usize::try_from(row.bytes).unwrap_or(usize::MAX));
        bytes <= PAGE_BYTES
    };
    rows.iter().take_while(fits).count().max(rows.len().min(1))
}
