//! Rows that belong to records, gone through beside them.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::pages::{Pages, Row};
use super::scan::cid_text;
use super::store::{BlobRow, LinkRow};
use super::{Finding, Findings};
use crate::db::AccountId;

/// Rows of one kind.
pub(super) struct Beside<R> {
    pages: Pages<R>,
}

impl<R: Row> Beside<R> {
    /// Starts before the first row.
    pub(super) async fn start(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Self> {
        Ok(Self { pages: Pages::start(conn, account).await? })
    }

    /// The row of the record at `path`, or of none if that is `None`. Rows that come before it have no record.
    async fn take_at(
        &mut self,
        conn: &mut PgConnection,
        path: Option<&str>,
        mut stray: impl FnMut(String, R),
    ) -> sqlx::Result<Option<R>> {
        while let Some((at, _)) = self.pages.peek(conn).await? {
            if path.is_some_and(|path| at.as_str() > path) {
                break;
            }
            let Some((_, row)) = self.pages.take() else { break };
            if path == Some(at.as_str()) {
                return Ok(Some(row));
            }
            stray(at, row);
        }
        Ok(None)
    }
}

impl Beside<LinkRow> {
    /// Holds the link of the record at `path` against its target; at the end, without path, tells what is left.
    pub(super) async fn check(
        &mut self,
        conn: &mut PgConnection,
        path: Option<&str>,
        target: Option<String>,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        let stray = |path, row: LinkRow| findings.push(Finding::LinkStray { path, target: row.target });
        let stored = self.take_at(conn, path, stray).await?.map(|row| row.target);
        let path = path.unwrap_or_default().to_owned();
        match (stored, target) {
            (Some(stored), Some(target)) if stored == target => {}
            (Some(stored), Some(target)) => findings.push(Finding::LinkOther { path, stored, target }),
            (None, Some(target)) => findings.push(Finding::LinkMissing { path, target }),
            // An empty one is left of a record that lost its target.
            (Some(stored), None) if !stored.is_empty() => findings.push(Finding::LinkStray { path, target: stored }),
            (Some(_) | None, None) => {}
        }
        Ok(())
    }
}

impl Beside<BlobRow> {
    /// Holds the blobs that are noted for the record at `path` against those it refers to; at the end, without path, tells
    /// what is left.
    pub(super) async fn check(
        &mut self,
        conn: &mut PgConnection,
        path: Option<&str>,
        mut expected: BTreeSet<Vec<u8>>,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        let mut strays = Vec::new();
        let stored = self.take_at(conn, path, |path, row| strays.push((path, row.cids))).await?;
        let path = path.unwrap_or_default();
        if let Some(row) = stored {
            let (_, surplus): (Vec<_>, Vec<_>) = row.cids.into_iter().partition(|cid| expected.remove(cid));
            strays.push((path.to_owned(), surplus));
        }
        for (path, cids) in strays {
            for cid in cids {
                findings.push(Finding::BlobStray { path: path.clone(), cid: cid_text(&cid) });
            }
        }
        for cid in expected {
            findings.push(Finding::BlobMissing { path: path.to_owned(), cid: cid_text(&cid) });
        }
        Ok(())
    }
}
