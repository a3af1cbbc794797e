//! The records of a repo: each by itself, its link and blobs, and the tree they make together.

use std::collections::BTreeSet;

use atproto::data::{Cid, Codec, cbor, find_blobs};
use atproto::mst::Key;
use atproto::syntax::{Nsid, RecordKey, Tid};
use sqlx::PgConnection;

use super::beside::Beside;
use super::pages::Pages;
use super::store::{BlobRow, LinkRow, RecordRow};
use super::tree::{Tree, TreeBuilder};
use super::{Finding, Findings};
use crate::db::AccountId;
use crate::repo::prepare::link_target;

/// A walk through the records of a repo, and what is kept beside them, in the order of the tree's keys.
pub(in crate::repo) struct Scan {
    records: Pages<RecordRow>,
    links: Beside<LinkRow>,
    blobs: Beside<BlobRow>,
    repo_rev: String,
}

/// A record that was checked by itself.
pub(in crate::repo) struct ScannedRecord {
    /// Its collection, which may be none.
    pub(in crate::repo) collection: String,
    /// Its key, which may be none.
    pub(in crate::repo) rkey: String,
    /// Its place in the tree, as far as it can be told.
    pub(in crate::repo) entry: Option<(Key, Cid)>,
    /// True if it cannot be trusted.
    pub(in crate::repo) is_damaged: bool,
}

impl Scan {
    /// Starts before the first record. `repo_rev` is the rev of the newest commit.
    pub(in crate::repo) async fn start(
        conn: &mut PgConnection,
        account: AccountId,
        repo_rev: &str,
    ) -> sqlx::Result<Self> {
        let links = Beside::start(conn, account).await?;
        let blobs = Beside::start(conn, account).await?;
        Ok(Self { records: Pages::start(conn, account).await?, links, blobs, repo_rev: repo_rev.to_owned() })
    }

    /// The next record. What is wrong with it, with its link and its blobs, and with those on the way to it goes into
    /// `findings`.
    pub(in crate::repo) async fn next(
        &mut self,
        conn: &mut PgConnection,
        findings: &mut Findings,
    ) -> sqlx::Result<Option<ScannedRecord>> {
        let path = self.records.peek(conn).await?.map(|(path, _)| path);
        let (Some(path), Some((collection, row))) = (path, self.records.take()) else {
            self.links.check(conn, None, None, findings).await?;
            self.blobs.check(conn, None, BTreeSet::new(), findings).await?;
            return Ok(None);
        };
        let CheckedRecord { entry, target, blobs, fault } = CheckedRecord::new(&collection, &row);
        let is_damaged = fault.is_some();
        if let Some(fault) = fault {
            findings.push(fault);
        }
        self.links.check(conn, Some(&path), target, findings).await?;
        self.blobs.check(conn, Some(&path), blobs, findings).await?;
        if !is_rev(&row.rev, &self.repo_rev) {
            findings.push(Finding::RecordRev { path, rev: row.rev });
        }
        Ok(Some(ScannedRecord { collection, rkey: row.rkey, entry, is_damaged }))
    }
}

/// What the records come to.
pub(super) struct Scanned {
    /// How many there are.
    pub(super) records: u64,
    /// The tree they make.
    pub(super) tree: Tree,
}

/// Goes through all records and links.
pub(super) async fn scan(
    conn: &mut PgConnection,
    account: AccountId,
    repo_rev: &str,
    findings: &mut Findings,
) -> sqlx::Result<Scanned> {
    let mut scan = Scan::start(conn, account, repo_rev).await?;
    let (mut records, mut tree) = (0, TreeBuilder::default());
    while let Some(record) = scan.next(conn, findings).await? {
        records += 1;
        if let Some((key, cid)) = record.entry
            && let Err(error) = tree.push(key, cid)
        {
            // Keys come in order, whatever they are.
            return Err(sqlx::Error::Decode(error.into()));
        }
    }
    Ok(Scanned { records, tree: tree.finish() })
}

/// True if something of a repo at `repo_rev` may have this rev.
pub(super) fn is_rev(rev: &str, repo_rev: &str) -> bool {
    rev.parse::<Tid>().is_ok() && rev <= repo_rev
}

/// What a record's own row tells.
struct CheckedRecord {
    entry: Option<(Key, Cid)>,
    /// What it points at: `None` if it points at nothing, or cannot be read.
    target: Option<String>,
    /// CIDs of the blobs it refers to, in binary form.
    blobs: BTreeSet<Vec<u8>>,
    fault: Option<Finding>,
}

impl CheckedRecord {
    fn new(collection: &str, row: &RecordRow) -> Self {
        let path = format!("{collection}/{}", row.rkey);
        let damaged = |entry, fault| Self { entry, target: None, blobs: BTreeSet::new(), fault: Some(fault) };
        let Some(nsid) = path_of(collection, &row.rkey).map(|(nsid, _)| nsid) else {
            return damaged(None, Finding::RecordPath { path });
        };
        let entry = entry(collection, &row.rkey, &row.cid);
        if !entry.as_ref().is_some_and(|(_, cid)| cid.verifies(&row.value)) {
            return damaged(entry, Finding::RecordHash { path, cid: cid_text(&row.cid) });
        }
        match cbor::decode(&row.value) {
            Ok(value) => {
                let blobs = find_blobs(&value).iter().map(|blob| blob.cid().as_bytes().to_vec()).collect();
                Self { entry, target: link_target(&nsid, &value), blobs, fault: None }
            }
            Err(error) => damaged(entry, Finding::RecordEncoding { path, reason: error.to_string() }),
        }
    }
}

/// A record's place in the tree; `None` if its path or its CID is none.
pub(super) fn entry(collection: &str, rkey: &str, cid: &[u8]) -> Option<(Key, Cid)> {
    let (nsid, rkey) = path_of(collection, rkey)?;
    let cid = Cid::from_bytes(cid).ok().filter(|cid| cid.codec() == Codec::DagCbor)?;
    Some((Key::new(&nsid, &rkey), cid))
}

fn path_of(collection: &str, rkey: &str) -> Option<(Nsid, RecordKey)> {
    Some((collection.parse().ok()?, rkey.parse().ok()?))
}

/// A stored CID for people: what is none is shown in hexadecimal digits.
pub(super) fn cid_text(bytes: &[u8]) -> String {
    match Cid::from_bytes(bytes) {
        Ok(cid) => cid.to_string(),
        Err(_) => format!("0x{}", data_encoding::HEXLOWER.encode(bytes)),
    }
}
