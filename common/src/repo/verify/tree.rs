//! The tree that the records make, of which only the hashes of the nodes are kept.

use std::collections::HashMap;
use std::ops::Range;

use atproto::data::{Cid, Codec};
use atproto::mst::{Builder, Error, Key, NewNode};

/// A node's SHA-256. Codec and hash function of all nodes are the same.
pub(super) type Digest = [u8; 32];

/// A tree in the making. Nodes come children before parents, so the nodes of a subtree follow each other, its root last.
#[derive(Default)]
pub(super) struct TreeBuilder {
    builder: Builder,
    nodes: Nodes,
}

#[derive(Default)]
struct Nodes {
    digests: Vec<Digest>,
    /// What is below each node, itself included.
    extents: Vec<Extent>,
    /// Where the subtrees end that have no parent yet.
    open: Vec<usize>,
    /// Records added so far.
    records: u32,
}

/// How much there is of a subtree.
#[derive(Clone, Copy)]
struct Extent {
    nodes: u32,
    records: u32,
    /// The number of the first record behind it, counted from 0.
    end: u32,
}

impl Nodes {
    fn push(&mut self, node: &NewNode) {
        let children = node.node.subtrees().iter().flatten().count();
        let first = self.open.len().saturating_sub(children);
        let own = u32::try_from(node.node.entries().len()).unwrap_or(u32::MAX);
        let mut extent = Extent { nodes: 1, records: own, end: self.records };
        for child in self.open.drain(first..) {
            extent.nodes += self.extents[child].nodes;
            extent.records += self.extents[child].records;
        }
        self.open.push(self.digests.len());
        self.digests.push(digest(&node.cid));
        self.extents.push(extent);
    }
}

impl TreeBuilder {
    /// Adds the next record.
    ///
    /// # Errors
    /// `NotAscending`.
    pub(super) fn push(&mut self, key: Key, value: Cid) -> Result<(), Error> {
        let nodes = &mut self.nodes;
        self.builder.push(key, value, &mut |node| nodes.push(&node))?;
        // Whatever was finished just now ends before this record.
        nodes.records += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> Tree {
        let Self { builder, mut nodes } = self;
        let root = builder.finish(|node| nodes.push(&node));
        Tree { root, digests: nodes.digests, extents: nodes.extents }
    }
}

/// A finished tree.
pub(super) struct Tree {
    root: Cid,
    digests: Vec<Digest>,
    extents: Vec<Extent>,
}

impl Tree {
    pub(super) fn root(&self) -> Cid {
        self.root
    }

    /// Hashes of all nodes.
    pub(super) fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Where each node is.
    pub(super) fn index(&self) -> HashMap<Digest, usize> {
        self.digests.iter().enumerate().map(|(place, digest)| (*digest, place)).collect()
    }

    /// Hashes of the nodes of the subtree whose root is at `place`.
    pub(super) fn subtree(&self, place: usize) -> &[Digest] {
        let size = usize::try_from(self.extents[place].nodes).unwrap_or(usize::MAX);
        &self.digests[(place + 1).saturating_sub(size)..=place]
    }

    /// Numbers of the records of the subtree whose root is at `place`, counted from 0 in key order.
    pub(super) fn records(&self, place: usize) -> Range<u32> {
        let Extent { records, end, .. } = self.extents[place];
        end.saturating_sub(records)..end
    }
}

pub(super) fn digest(cid: &Cid) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(cid.digest());
    digest
}

/// The CID of the node with this hash.
pub(super) fn node_cid(digest: &Digest) -> Cid {
    Cid::from_digest(Codec::DagCbor, *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_a_run_of_nodes_and_a_run_of_records() {
        let key = |number: usize| format!("com.example.thing/{number:06}").parse::<Key>().unwrap();
        let mut builder = TreeBuilder::default();
        let mut nodes = HashMap::new();
        let entries: Vec<_> = (0..2000).map(|number| (key(number), Cid::dag_cbor(&number.to_be_bytes()))).collect();
        for (key, cid) in entries.clone() {
            builder.push(key, cid).unwrap();
        }
        let tree = builder.finish();
        let root = atproto::mst::build(entries, |node| drop(nodes.insert(node.cid, node.node))).unwrap();
        assert_eq!(tree.root(), root);
        assert_eq!(tree.digests().len(), nodes.len());
        let index = tree.index();
        for (cid, node) in &nodes {
            let place = index[&digest(cid)];
            let below: usize =
                node.subtrees().iter().flatten().map(|child| tree.subtree(index[&digest(child)]).len()).sum();
            let subtree = tree.subtree(place);
            assert_eq!(subtree.len(), below + 1);
            assert!(node.subtrees().iter().flatten().all(|child| subtree.contains(&digest(child))));
            let first = node.entries().iter().zip(node.subtrees().iter().skip(1));
            for (entry, child) in first {
                let number: u32 = entry.key.rkey().parse().unwrap();
                assert!(tree.records(place).contains(&number));
                assert!(child.is_none_or(|child| tree.records(index[&digest(&child)]).start == number + 1));
            }
        }
        assert_eq!(tree.records(index[&digest(&root)]), 0..2000);
        assert_eq!(tree.subtree(index[&digest(&root)]).len(), nodes.len());
    }
}
