//! Blocks that the walk will come by, read before it does.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use atproto::data::Cid;
use atproto::mst::{BlockSource, Entry, Key, Node, Step, Walker};
use atproto::syntax::Tid;
use sqlx::PgConnection;

use super::super::store::{StoredNode, list_nodes};
use super::ExportError;
use super::store::{self, ExportedRecord};
use crate::db::AccountId;

/// Nodes to read ahead.
const NODES: usize = 1000;
/// Records to read ahead.
const RECORDS: u16 = 500;
/// Values of at most so many bytes are read ahead with their records, 8 MB at once. The few that are longer are read when
/// the walk comes by them. Adding up lengths in Postgres instead costs three times the work of reading an ordinary record.
const INLINE_BYTES: i32 = 16 * 1024;

/// Nodes ahead. With `since`, the nodes that came with that rev or before it are left out of the walk, with all that is
/// below them: a node never outlives what it names, so all of it was there.
pub(super) struct NodesAhead {
    account: AccountId,
    since: Option<Tid>,
    nodes: HashMap<Cid, (Arc<Node>, Vec<u8>)>,
}

impl BlockSource for NodesAhead {
    fn node(&self, cid: &Cid) -> Option<Arc<Node>> {
        self.nodes.get(cid).map(|(node, _)| Arc::clone(node))
    }
}

impl NodesAhead {
    pub(super) fn new(account: AccountId, since: Option<Tid>) -> Self {
        Self { account, since, nodes: HashMap::new() }
    }

    /// The block of a node that the walk came by.
    pub(super) fn take(&mut self, cid: &Cid) -> Option<Vec<u8>> {
        self.nodes.remove(cid).map(|(_, block)| block)
    }

    /// Reads the nodes that the walk needs next.
    pub(super) async fn read(&mut self, conn: &mut PgConnection, walker: &mut Walker) -> Result<(), ExportError> {
        let wanted = walker.lookahead(self, NODES);
        let found = list_nodes(conn, self.account, &wanted).await?;
        if found.len() < wanted.len() {
            return Err(ExportError::Damaged("a tree node is not stored".to_owned()));
        }
        for StoredNode { cid, rev, bytes } in found {
            if self.since.is_some_and(|since| rev <= since) {
                walker.leave_out([cid]);
            } else {
                let node = Node::decode(&bytes).map_err(|error| ExportError::Damaged(error.to_string()))?;
                self.nodes.insert(cid, (Arc::new(node), bytes));
            }
        }
        Ok(())
    }
}

/// Records ahead, in the order of the walk.
///
/// A walk through the whole repo comes by all keys of a collection one after the other, whatever the order of the
/// collections, so a range of the index is what it needs next. One that leaves subtrees out asks for the keys one by one.
pub(super) struct RecordsAhead {
    account: AccountId,
    since: Option<Tid>,
    page: VecDeque<ExportedRecord>,
}

impl RecordsAhead {
    pub(super) fn new(account: AccountId, since: Option<Tid>) -> Self {
        Self { account, since, page: VecDeque::new() }
    }

    /// The value of the record at this entry, unless it is too old to be asked for.
    pub(super) async fn take(
        &mut self,
        conn: &mut PgConnection,
        entry: &Entry,
        walker: &Walker,
        nodes: &NodesAhead,
    ) -> Result<Option<Vec<u8>>, ExportError> {
        if self.page.is_empty() {
            self.page = self.read(conn, entry, walker, nodes).await?.into();
        }
        let missing = || ExportError::Damaged(format!("record {} is not stored", entry.key));
        let record = self.page.pop_front().filter(|record| record.cid == entry.value).ok_or_else(missing)?;
        if !record.is_wanted || record.value.is_some() {
            return Ok(record.value);
        }
        let path = (entry.key.collection(), entry.key.rkey());
        Ok(Some(store::find_value(conn, self.account, path).await?.ok_or_else(missing)?))
    }

    async fn read(
        &self,
        conn: &mut PgConnection,
        entry: &Entry,
        walker: &Walker,
        nodes: &NodesAhead,
    ) -> sqlx::Result<Vec<ExportedRecord>> {
        let Some(since) = self.since else {
            let range = (entry.key.collection(), entry.key.rkey());
            return store::list_range(conn, self.account, range, (i64::from(RECORDS), INLINE_BYTES)).await;
        };
        let keys = keys_ahead(entry, walker, nodes);
        let collections: Vec<&str> = keys.iter().map(Key::collection).collect();
        let rkeys: Vec<&str> = keys.iter().map(Key::rkey).collect();
        store::list_changed(conn, self.account, (&collections, &rkeys), (since, INLINE_BYTES)).await
    }
}

/// The key of `entry` and those the walk comes by next, as far as its nodes are at hand.
fn keys_ahead(entry: &Entry, walker: &Walker, nodes: &NodesAhead) -> Vec<Key> {
    let mut keys = vec![entry.key.clone()];
    let mut scout = walker.clone();
    while keys.len() < usize::from(RECORDS)
        && let Ok(Some(step)) = scout.next(nodes)
    {
        if let Step::Entry(entry) = step {
            keys.push(entry.key);
        }
    }
    keys
}
