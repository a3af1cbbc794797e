//! Where the tree that the commit names is another than the one that the records make.
//!
//! Trees with the same content are the same, node by node. So whatever subtree the two have in common need not be looked at;
//! the walk goes through the rest only, and a few damaged records cost a few nodes, however large the repo is.

use std::collections::HashMap;
use std::ops::Range;

use atproto::data::Cid;
use atproto::mst::{Entry, Node};
use sqlx::PgConnection;

use super::nodes::Live;
use super::pages::Pages;
use super::scan::{cid_text, entry};
use super::store::{self, NameRow};
use super::tree::{Digest, Tree, digest};
use super::{Finding, Findings};
use crate::db::AccountId;

/// Compares the tree at `root` with the one of the records, names the records that differ, and tells which nodes should be
/// stored.
pub(super) async fn compare(
    conn: &mut PgConnection,
    account: AccountId,
    root: Cid,
    tree: &Tree,
    findings: &mut Findings,
) -> sqlx::Result<Live> {
    let mut walk = Walk::new(account, root, tree);
    let mut records = Records { pages: Pages::start(conn, account).await?, number: 0, is_blind: false };
    while let Some(piece) = walk.next(conn).await? {
        match piece {
            Piece::Entry(entry) => records.check(conn, &entry, findings).await?,
            Piece::Shared(numbers) => records.pass(conn, numbers, findings).await?,
            Piece::Lost => records.is_blind = true,
        }
    }
    records.skip_while(conn, |_, _| true, findings).await?;
    Ok(walk.into_live())
}

/// What the walk comes by.
enum Piece {
    Entry(Entry),
    /// A subtree that both trees have: the records with these numbers.
    Shared(Range<u32>),
    /// A node that cannot be read, and whatever was below it.
    Lost,
}

/// A walk in key order through what is not shared.
struct Walk<'a> {
    account: AccountId,
    tree: &'a Tree,
    index: HashMap<Digest, usize>,
    /// The node to go to at the next step.
    next: Option<Cid>,
    stack: Vec<Visit>,
    /// Blocks of nodes to come.
    ahead: HashMap<Cid, Vec<u8>>,
    live: Vec<Digest>,
    lost: bool,
}

struct Visit {
    node: Node,
    /// Subtrees gone to so far; entries gone by are one fewer, or as many.
    subtrees: usize,
    entries: usize,
}

impl<'a> Walk<'a> {
    fn new(account: AccountId, root: Cid, tree: &'a Tree) -> Self {
        let (stack, ahead, live) = (Vec::new(), HashMap::new(), Vec::new());
        Self { account, tree, index: tree.index(), next: Some(root), stack, ahead, live, lost: false }
    }

    async fn next(&mut self, conn: &mut PgConnection) -> sqlx::Result<Option<Piece>> {
        loop {
            if let Some(cid) = self.next.take()
                && let Some(piece) = self.enter(conn, cid).await?
            {
                return Ok(Some(piece));
            }
            let Some(visit) = self.stack.last_mut() else { return Ok(None) };
            if visit.subtrees == visit.entries {
                self.next = visit.node.subtrees().get(visit.subtrees).copied().flatten();
                visit.subtrees += 1;
            } else if let Some(entry) = visit.node.entries().get(visit.entries) {
                visit.entries += 1;
                return Ok(Some(Piece::Entry(entry.clone())));
            } else {
                self.stack.pop();
            }
        }
    }

    /// Goes to a node; gives what is there instead if it cannot or need not be gone into.
    async fn enter(&mut self, conn: &mut PgConnection, cid: Cid) -> sqlx::Result<Option<Piece>> {
        if let Some(place) = self.index.get(&digest(&cid)) {
            self.live.extend_from_slice(self.tree.subtree(*place));
            return Ok(Some(Piece::Shared(self.tree.records(*place))));
        }
        self.live.push(digest(&cid));
        let block = match self.ahead.remove(&cid) {
            Some(block) => Some(block),
            None => store::list_blocks(conn, self.account, &[cid]).await?.pop().map(|(_, block)| block),
        };
        let node = block.filter(|block| cid.verifies(block)).and_then(|block| Node::decode(&block).ok());
        let Some(node) = node else {
            self.lost = true;
            return Ok(Some(Piece::Lost));
        };
        self.read_ahead(conn, &node).await?;
        self.stack.push(Visit { node, subtrees: 0, entries: 0 });
        Ok(None)
    }

    async fn read_ahead(&mut self, conn: &mut PgConnection, node: &Node) -> sqlx::Result<()> {
        let below = node.subtrees().iter().flatten().copied();
        let wanted: Vec<Cid> = below.filter(|cid| !self.index.contains_key(&digest(cid))).collect();
        if !wanted.is_empty() {
            self.ahead.extend(store::list_blocks(conn, self.account, &wanted).await?);
        }
        Ok(())
    }

    fn into_live(self) -> Live {
        // Below a lost node nobody knows what is live: what the tree of the records has there may well be.
        let spared = if self.lost { self.tree.digests().to_vec() } else { Vec::new() };
        Live::new(self.live, spared)
    }
}

/// The records, gone through beside the walk.
struct Records {
    pages: Pages<NameRow>,
    /// The number of the next one in the tree of the records.
    number: u32,
    /// Since the last entry there was a lost node: nobody knows what it named.
    is_blind: bool,
}

impl Records {
    /// Holds the record at an entry against it. The tree names none of those before it.
    async fn check(&mut self, conn: &mut PgConnection, entry: &Entry, findings: &mut Findings) -> sqlx::Result<()> {
        self.skip_while(conn, |path, _| path < entry.key.as_str(), findings).await?;
        self.is_blind = false;
        let stored = match self.pages.peek(conn).await? {
            Some((path, row)) if path == entry.key.as_str() => Some(row.cid.clone()),
            _ => None,
        };
        let (path, tree) = (entry.key.to_string(), entry.value.to_string());
        match stored {
            None => findings.push(Finding::RecordMissing { path, cid: tree }),
            Some(cid) => {
                self.take();
                if cid != entry.value.as_bytes() {
                    findings.push(Finding::RecordOther { path, stored: cid_text(&cid), tree });
                }
            }
        }
        Ok(())
    }

    /// Goes by records that both trees have. The tree names none of those before them.
    async fn pass(
        &mut self,
        conn: &mut PgConnection,
        numbers: Range<u32>,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        self.skip_while(conn, |_, number| number < numbers.start, findings).await?;
        while self.number < numbers.end && self.pages.peek(conn).await?.is_some() {
            self.take();
        }
        Ok(())
    }

    /// Goes by the records that `is_before` tells by path and number; the tree does not name them.
    async fn skip_while(
        &mut self,
        conn: &mut PgConnection,
        is_before: impl Fn(&str, u32) -> bool,
        findings: &mut Findings,
    ) -> sqlx::Result<()> {
        while let Some((path, _)) = self.pages.peek(conn).await? {
            if !is_before(&path, self.number) {
                break;
            }
            self.take();
            if !self.is_blind {
                findings.push(Finding::RecordSurplus { path });
            }
        }
        Ok(())
    }

    fn take(&mut self) {
        // What has no place in the tree has no number.
        if let Some((collection, row)) = self.pages.take()
            && entry(&collection, &row.rkey, &row.cid).is_some()
        {
            self.number += 1;
        }
    }
}
