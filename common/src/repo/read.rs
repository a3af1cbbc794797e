//! Reading repos: status, records, collections, lists.

use atproto::data::Cid;
use atproto::syntax::{Did, Nsid, RecordKey, Tid};
use chrono::{DateTime, Utc};

use super::{Repos, store};
use crate::db::AccountId;

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

/// Which part of a collection to list.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Records at most.
    pub limit: u16,
    /// Key of the last record of the page before.
    pub cursor: Option<&'a RecordKey>,
    /// Oldest first; the usual order is newest first, that is by descending key.
    pub reverse: bool,
}

impl Repos {
    /// The repo of this DID; `None` if it has no account here.
    pub async fn find(&self, did: &Did) -> sqlx::Result<Option<Repo>> {
        store::find_repo(&mut *self.pool.acquire().await?, did).await
    }

    /// A record, also if it is taken down.
    pub async fn find_record(
        &self,
        account: AccountId,
        collection: &Nsid,
        rkey: &RecordKey,
    ) -> sqlx::Result<Option<Record>> {
        store::find_record(&mut *self.pool.acquire().await?, account, collection, rkey).await
    }

    /// A page of a collection without taken-down records.
    pub async fn list_records(
        &self,
        account: AccountId,
        collection: &Nsid,
        page: Page<'_>,
    ) -> sqlx::Result<Vec<Record>> {
        let mut conn = self.pool.acquire().await?;
        let limit = i64::from(page.limit);
        if page.reverse {
            store::list_records_ascending(&mut conn, account, collection, page.cursor, limit).await
        } else {
            store::list_records_descending(&mut conn, account, collection, page.cursor, limit).await
        }
    }

    /// The collections in which the repo has records, in order.
    pub async fn list_collections(&self, account: AccountId) -> sqlx::Result<Vec<Nsid>> {
        store::list_collections(&mut *self.pool.acquire().await?, account).await
    }

    /// A page of all repos of this server, inactive ones too, in the order their accounts were made.
    pub async fn list(&self, after: Option<(DateTime<Utc>, &str)>, limit: u16) -> sqlx::Result<Vec<ListedRepo>> {
        store::list_repos(&mut *self.pool.acquire().await?, after, i64::from(limit)).await
    }
}
