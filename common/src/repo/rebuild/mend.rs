//! Going through the records and writing what should be there.

use atproto::data::Cid;
use atproto::mst::{Builder, NewNode};
use sqlx::PgConnection;

use super::super::verify::{Finding, Findings, scan::Scan};
use super::super::write::CommitRef;
use super::{Rebuilt, Work, store};
use crate::blob::{self, Reference};

/// Rows written in one statement.
const CHUNK: usize = 500;

/// What was made again.
pub(super) struct Remade {
    /// Root of the tree.
    pub(super) root: Cid,
    /// Records in it.
    pub(super) records: u64,
    nodes_written: u64,
    nodes_deleted: u64,
    links_mended: u64,
    blobs_mended: u64,
    records_dropped: u64,
}

impl Remade {
    pub(super) fn into_rebuilt(self, commit: CommitRef, seq: Option<i64>) -> Rebuilt {
        let Self { root: _, records, nodes_written, nodes_deleted, links_mended, blobs_mended, records_dropped } = self;
        Rebuilt { commit, seq, records, nodes_written, nodes_deleted, links_mended, blobs_mended, records_dropped }
    }
}

/// Makes nodes, links and revs what the records say they are; deletes records that cannot be trusted.
///
/// In memory are a page of records, a chunk of what is to be written, and the CIDs of all nodes.
pub(super) async fn mend(conn: &mut PgConnection, work: &Work) -> sqlx::Result<Remade> {
    let mut builder = Builder::default();
    let mut changes = Changes::default();
    let mut scan = Scan::start(conn, work.repo.account, &work.stored_rev).await?;
    loop {
        let mut findings = Findings::without_limit();
        let record = scan.next(conn, &mut findings).await?;
        changes.add(&findings);
        let Some(record) = record else { break };
        match record.entry {
            Some((key, cid)) if !record.is_damaged => {
                changes.records += 1;
                let nodes = &mut changes.nodes;
                let pushed = builder.push(key, cid, &mut |node| nodes.push(node));
                // Keys come in order, whatever they are.
                pushed.map_err(|error| sqlx::Error::Decode(error.into()))?;
            }
            _ => changes.dropped.push((record.collection, record.rkey)),
        }
        changes.write(conn, work, CHUNK).await?;
    }
    let root = builder.finish(|node| changes.nodes.push(node));
    changes.write(conn, work, 1).await?;
    changes.delete_surplus(conn, work).await?;
    store::refresh_collections(conn, work).await?;
    store::update_revs(conn, work).await?;
    Ok(changes.into_remade(root))
}

/// What is to be written, and what was.
#[derive(Default)]
struct Changes {
    nodes: Vec<NewNode>,
    links: Vec<Link>,
    /// References to note.
    blobs: Vec<Reference>,
    /// References to forget: collection, key, CID.
    stray_blobs: Vec<(String, String, Cid)>,
    dropped: Vec<(String, String)>,
    /// All nodes that should be there.
    live: Vec<Cid>,
    records: u64,
    nodes_written: u64,
    nodes_deleted: u64,
    links_mended: u64,
    blobs_mended: u64,
    records_dropped: u64,
}

/// A link to write, or to delete if it leads nowhere.
pub(super) struct Link {
    pub(super) collection: String,
    pub(super) rkey: String,
    pub(super) target: Option<String>,
}

impl Changes {
    /// Takes note of what is wrong beside the records.
    fn add(&mut self, findings: &Findings) {
        for finding in findings.listed() {
            match finding {
                Finding::LinkMissing { path, target } | Finding::LinkOther { path, target, .. } => {
                    self.add_link(path, Some(target.clone()));
                }
                Finding::LinkStray { path, .. } => self.add_link(path, None),
                Finding::BlobMissing { path, cid } => self.blobs.extend(reference(path, cid)),
                Finding::BlobStray { path, cid } => {
                    let (collection, rkey) = split(path);
                    self.stray_blobs.extend(cid.parse().ok().map(|cid| (collection, rkey, cid)));
                }
                _ => {}
            }
        }
    }

    fn add_link(&mut self, path: &str, target: Option<String>) {
        let (collection, rkey) = split(path);
        self.links.push(Link { collection, rkey, target });
    }

    /// Writes what has come together, each kind if there are at least `enough` of it.
    async fn write(&mut self, conn: &mut PgConnection, work: &Work, enough: usize) -> sqlx::Result<()> {
        if self.nodes.len() >= enough {
            self.nodes_written += store::upsert_nodes(conn, work, &self.nodes).await?;
            self.live.extend(self.nodes.drain(..).map(|node| node.cid));
        }
        if self.links.len() >= enough {
            self.links_mended += store::mend_links(conn, work, &self.links).await?;
            self.links.clear();
        }
        if self.blobs.len() >= enough {
            blob::insert_references(conn, work.repo.account, work.rev, &self.blobs).await?;
            self.blobs_mended += u64::try_from(self.blobs.len()).unwrap_or(u64::MAX);
            self.blobs.clear();
        }
        if self.stray_blobs.len() >= enough {
            self.blobs_mended += blob::delete_references(conn, work.repo.account, &self.stray_blobs).await?;
            self.stray_blobs.clear();
        }
        if self.dropped.len() >= enough {
            self.records_dropped += store::delete_records(conn, work, &self.dropped).await?;
            self.dropped.clear();
        }
        Ok(())
    }

    /// Deletes the nodes that are not of the tree, a range of CIDs at a time.
    async fn delete_surplus(&mut self, conn: &mut PgConnection, work: &Work) -> sqlx::Result<()> {
        self.live.sort_unstable();
        let mut after: &[u8] = &[];
        let chunks = self.live.len().div_ceil(CHUNK);
        for (place, chunk) in (1..).zip(self.live.chunks(CHUNK)) {
            let upto = chunk.last().filter(|_| place < chunks).map(|cid| cid.as_bytes().as_slice());
            self.nodes_deleted += store::delete_nodes_between(conn, work, (after, upto), chunk).await?;
            after = upto.unwrap_or_default();
        }
        Ok(())
    }

    fn into_remade(self, root: Cid) -> Remade {
        let Self { records, nodes_written, nodes_deleted, links_mended, blobs_mended, records_dropped, .. } = self;
        Remade { root, records, nodes_written, nodes_deleted, links_mended, blobs_mended, records_dropped }
    }
}

/// Collection and key of a path.
fn split(path: &str) -> (String, String) {
    let (collection, rkey) = path.split_once('/').unwrap_or((path, ""));
    (collection.to_owned(), rkey.to_owned())
}

/// The reference of a sound record; its path and CID are proper.
fn reference(path: &str, cid: &str) -> Option<Reference> {
    let (collection, rkey) = path.split_once('/')?;
    Some(Reference { cid: cid.parse().ok()?, collection: collection.parse().ok()?, rkey: rkey.parse().ok()? })
}
