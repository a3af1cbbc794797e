//! The repository: one write into a large tree, whole trees, nodes and archives.

#![expect(clippy::unwrap_used, reason = "in a benchmark a panic is a failure")]

use std::collections::HashMap;
use std::sync::Arc;

use atproto::car;
use atproto::data::Cid;
use atproto::mst::{self, Applied, Key, Node, Operation, Step, Walker};
use atproto::syntax::Tid;
use bytes::{Bytes, BytesMut};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

type Store = HashMap<Cid, Arc<Node>>;

fn main() {
    divan::main();
}

/// Records of a feed, one a second.
fn key(number: u64) -> Key {
    let rkey = Tid::from_micros(1_700_000_000_000_000 + number * 1_000_000, 7);
    format!("app.bsky.feed.post/{rkey}").parse().unwrap()
}

fn entries(count: u64) -> Vec<(Key, Cid)> {
    (0..count).map(|number| (key(number), Cid::dag_cbor(&number.to_be_bytes()))).collect()
}

fn tree(count: u64) -> (Cid, Store) {
    let mut store = Store::new();
    let root = mst::build(entries(count), |node| _ = store.insert(node.cid, node.node)).unwrap();
    (root, store)
}

/// A create behind the last record, as posts are, or in the middle of the tree.
fn create(number: u64) -> Operation {
    let key = format!("{}x", key(number)).parse().unwrap();
    Operation::Create { key, cid: Cid::dag_cbor(b"new") }
}

fn applied(root: &Cid, store: &Store, op: Operation) -> Applied {
    mst::apply(root, &[op], store).unwrap()
}

#[divan::bench(args = [50_000, 100_000])]
fn apply_create_to_100_000(bencher: Bencher<'_, '_>, place: u64) {
    let (root, store) = tree(100_000);
    let ops = [create(place)];
    bencher.bench(|| mst::apply(black_box(&root), black_box(&ops), &store).unwrap());
}

/// The check of a commit before it is published, on its proof alone.
#[divan::bench]
fn invert_create_in_100_000(bencher: Bencher<'_, '_>) {
    let (root, store) = tree(100_000);
    let applied = applied(&root, &store, create(50_000));
    let proof = applied.proof.iter().map(|(cid, block)| (*cid, Arc::new(Node::decode(block).unwrap())));
    let proof: Store = proof.collect();
    bencher.bench(|| mst::invert(black_box(&applied.root), &applied.ops, &proof).unwrap());
}

#[divan::bench]
fn get_from_100_000(bencher: Bencher<'_, '_>) {
    let (root, store) = tree(100_000);
    let key = key(50_000);
    bencher.bench(|| mst::get(black_box(&root), black_box(&key), &store).unwrap());
}

#[divan::bench]
fn build_100_000(bencher: Bencher<'_, '_>) {
    let build = |entries| mst::build(entries, |node| _ = black_box(node)).unwrap();
    bencher.counter(ItemsCount::new(100_000_u32)).with_inputs(|| entries(100_000)).bench_values(build);
}

#[divan::bench]
fn walk_100_000(bencher: Bencher<'_, '_>) {
    let (root, store) = tree(100_000);
    bencher.counter(ItemsCount::new(100_000_u32)).bench(|| {
        let mut walker = Walker::new(root);
        let mut entries = 0;
        while let Some(step) = walker.next(&store).unwrap() {
            entries += usize::from(matches!(step, Step::Entry(_)));
        }
        entries
    });
}

/// The node with the median number of keys above the leaves, about what a write touches.
fn node() -> Arc<Node> {
    let (_, store) = tree(10_000);
    let mut nodes: Vec<_> = store.into_values().filter(|node| node.layer() > Some(0)).collect();
    nodes.sort_by_key(|node| (node.entries().len(), node.encode()));
    nodes.swap_remove(nodes.len() / 2)
}

#[divan::bench]
fn encode_node(bencher: Bencher<'_, '_>) {
    let node = node();
    bencher.counter(BytesCount::new(node.encode().len())).bench(|| black_box(&node).encode());
}

#[divan::bench]
fn decode_node(bencher: Bencher<'_, '_>) {
    let block = node().encode();
    bencher.counter(BytesCount::new(block.len())).bench(|| Node::decode(black_box(&block)).unwrap());
}

fn records(count: u32) -> Vec<(Cid, Bytes)> {
    let record = |number: u32| Bytes::from(format!("{number:0450}"));
    (0..count).map(record).map(|block| (Cid::dag_cbor(&block), block)).collect()
}

fn archive(records: &[(Cid, Bytes)]) -> Bytes {
    car::archive(&records[0].0, records.iter().map(|(cid, block)| (cid, &block[..])))
}

/// Section by section into one buffer, as an export does it.
#[divan::bench]
fn write_car_of_10_000(bencher: Bencher<'_, '_>) {
    let records = records(10_000);
    bencher.counter(ItemsCount::new(records.len())).with_inputs(|| BytesMut::with_capacity(5_000_000)).bench_refs(
        |out| {
            out.extend_from_slice(&car::header(&records[0].0));
            for (cid, block) in black_box(&records) {
                car::section(cid, block, out);
            }
        },
    );
}

/// In chunks of 64 KiB, with every hash checked, as an import does it.
#[divan::bench]
fn read_car_of_10_000(bencher: Bencher<'_, '_>) {
    let archive = archive(&records(10_000));
    bencher.counter(BytesCount::new(archive.len())).bench(|| {
        let mut reader = car::Reader::new();
        for chunk in black_box(&archive).chunks(1 << 16) {
            reader.push(chunk);
            while let Some(block) = reader.next_block().unwrap() {
                black_box(block);
            }
        }
        reader.finish().unwrap()
    });
}
