//! Going through a tree in key order.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::key::Key;
use super::node::{Entry, Node};
use super::place::Place;
use super::{BlockSource, Error, load};
use crate::data::Cid;

/// Goes through a tree depth first and in key order: a node, then its first subtree, its first entry, its second
/// subtree, and so on. That is the streaming order of the sync specification.
///
/// Holds the nodes on the way to the current one and nothing else. It takes its nodes from a source given anew at each
/// step, so the caller can fetch them in batches and let go of them:
///
/// ```text
/// loop {
///     match walker.next(&cache) {
///         Ok(Some(Step::Node { cid, node })) => { cache.remove(&cid); … }
///         Ok(Some(Step::Entry(entry))) => …
///         Ok(None) => break,
///         Err(Error::Missing(_)) => cache.extend(fetch(walker.lookahead(&cache, 500))),
///         Err(damaged) => return Err(damaged),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Walker {
    /// The node to go to at the next step.
    next: Option<(Cid, Place)>,
    /// The nodes on the way to the current one, the root first.
    stack: Vec<Visit>,
    /// The walk leaves out the entries below this key and the subtrees that can hold no others.
    from: Option<Key>,
    /// Subtrees ahead that the walk passes by.
    left_out: HashSet<Cid>,
}

/// What a [`Walker`] comes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node. Its entries and subtrees follow.
    Node {
        /// CID of the node.
        cid: Cid,
        /// The node.
        node: Arc<Node>,
    },
    /// A record.
    Entry(Entry),
}

#[derive(Clone, Debug)]
struct Visit {
    node: Arc<Node>,
    place: Place,
    layer: u8,
    at: Position,
}

/// What comes next in a node.
#[derive(Clone, Copy, Debug)]
enum Position {
    Subtree(usize),
    Entry(usize),
}

impl Walker {
    /// A walk through the whole tree at `root`.
    pub fn new(root: Cid) -> Self {
        Self { next: Some((root, Place::ROOT)), stack: Vec::new(), from: None, left_out: HashSet::new() }
    }

    /// A walk through the entries from `key` on, and the nodes on the way to them.
    pub fn starting_at(root: Cid, key: Key) -> Self {
        Self { from: Some(key), ..Self::new(root) }
    }

    /// Passes by the subtrees at these nodes, which must be ahead: the walk comes by neither the nodes nor anything below
    /// them, and does not need them.
    pub fn leave_out(&mut self, nodes: impl IntoIterator<Item = Cid>) {
        self.left_out.extend(nodes);
    }

    /// Goes one step. `None` at the end.
    ///
    /// # Errors
    /// `Missing` with the node to go to, if the source lacks it: call again when it is there, and see
    /// [`Walker::lookahead`]. `Malformed`: the walk cannot go on.
    pub fn next(&mut self, source: &impl BlockSource) -> Result<Option<Step>, Error> {
        loop {
            if self.next.as_ref().is_some_and(|(cid, _)| self.left_out.remove(cid)) {
                self.next = None;
            }
            if let Some((cid, place)) = self.next.clone() {
                let node = load(source, &cid)?;
                let layer = place.admit(&cid, &node)?;
                self.next = None;
                self.stack.push(Visit { at: self.start(&node), node: Arc::clone(&node), place, layer });
                return Ok(Some(Step::Node { cid, node }));
            }
            let Some(visit) = self.stack.last_mut() else { return Ok(None) };
            match visit.at {
                Position::Subtree(index) => {
                    self.next = visit.subtree(index);
                    visit.at = Position::Entry(index);
                }
                Position::Entry(index) => match visit.node.entries().get(index) {
                    Some(entry) => {
                        visit.at = Position::Subtree(index + 1);
                        return Ok(Some(Step::Entry(entry.clone())));
                    }
                    None => _ = self.stack.pop(),
                },
            }
        }
    }

    /// Where to start in `node`.
    fn start(&self, node: &Node) -> Position {
        match self.from.as_ref().map(|from| node.find(from)) {
            None => Position::Subtree(0),
            Some(Err(gap)) => Position::Subtree(gap),
            Some(Ok(index)) => Position::Entry(index),
        }
    }

    /// The nodes ahead that the source lacks, at most `limit`, in the order in which the walk will need them.
    ///
    /// It looks through the nodes that the source has, so what is fetched in one call leads to more in the next. A caller
    /// that asks when a node is missing, and drops each node when the walk comes by it, needs about one fetch per
    /// `limit` nodes and holds at most `limit` nodes per level of the tree.
    pub fn lookahead(&self, source: &impl BlockSource, limit: usize) -> Vec<Cid> {
        let mut ahead = Lookahead { walker: self, source, limit, seen: HashSet::new(), missing: Vec::new() };
        if let Some((cid, place)) = &self.next {
            ahead.scan(*cid, place);
        }
        for visit in self.stack.iter().rev() {
            ahead.scan_subtrees(visit);
        }
        ahead.missing
    }
}

impl Visit {
    /// Indices of the subtrees that are still to come.
    fn subtrees_ahead(&self) -> Range<usize> {
        let first = match self.at {
            Position::Subtree(index) => index,
            // The subtree before the entry has the entry's index.
            Position::Entry(index) => index + 1,
        };
        first..self.node.subtrees().len()
    }

    fn subtree(&self, index: usize) -> Option<(Cid, Place)> {
        self.node.subtrees()[index].map(|cid| (cid, self.place.below(&self.node, self.layer, index)))
    }
}

struct Lookahead<'a, S> {
    walker: &'a Walker,
    source: &'a S,
    limit: usize,
    seen: HashSet<Cid>,
    missing: Vec<Cid>,
}

impl<S: BlockSource> Lookahead<'_, S> {
    /// Recursion is bounded by the height of the tree, and the work by the nodes in the source: none is seen twice.
    fn scan(&mut self, cid: Cid, place: &Place) {
        let is_left_out = self.walker.left_out.contains(&cid);
        if self.missing.len() >= self.limit || is_left_out || !self.seen.insert(cid) {
            return;
        }
        let Some(node) = self.source.node(&cid) else {
            self.missing.push(cid);
            return;
        };
        // A malformed node is for the walk to report when it gets there.
        if let Ok(layer) = place.admit(&cid, &node) {
            self.scan_subtrees(&Visit { at: self.walker.start(&node), node, place: place.clone(), layer });
        }
    }

    fn scan_subtrees(&mut self, visit: &Visit) {
        for index in visit.subtrees_ahead() {
            if let Some((cid, place)) = visit.subtree(index) {
                self.scan(cid, &place);
            }
        }
    }
}
