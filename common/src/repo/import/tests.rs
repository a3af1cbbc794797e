//! Archives of every kind: what is good of them is handed out, and what is bad has its error.

use std::collections::BTreeMap;

use atproto::data::{self, Cid, Ipld};
use atproto::mst::{Key, NodeError, depth};
use atproto::syntax::Did;
use bytes::Bytes;
use serde_json::json;

use super::error::ImportError;
use super::spool::{Spool, Spooling};
use super::tree::{Checked, Chunk, check};
use crate::testing::{RepoArchive, to_car};

const MAX_BYTES: u64 = 1 << 20;

fn did() -> Did {
    "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap()
}

fn value(json: &serde_json::Value) -> Ipld {
    data::json::from_json(json).unwrap()
}

fn posts(count: usize) -> RepoArchive {
    let path = |number| format!("app.bsky.feed.post/{number:013}");
    RepoArchive::new(&did(), (0..count).map(|number| (path(number), value(&json!({ "text": number.to_string() })))))
}

fn spool(archive: &[u8]) -> Result<Spool, ImportError> {
    let mut spooling = Spooling::start().unwrap();
    for piece in archive.chunks(1000) {
        spooling.push(piece)?;
    }
    spooling.finish()
}

fn check_within(archive: &[u8], max_bytes: u64) -> Result<(Checked, Vec<Chunk>), ImportError> {
    let mut chunks = Vec::new();
    let checked = check(&spool(archive)?, &did(), max_bytes, |chunk| {
        chunks.push(chunk);
        Ok(())
    })?;
    Ok((checked, chunks))
}

fn check_all(archive: &[u8]) -> Result<(Checked, Vec<Chunk>), ImportError> {
    check_within(archive, MAX_BYTES)
}

/// The error of an archive, in words.
fn refusal(archive: &[u8]) -> String {
    check_all(archive).map(|(checked, _)| checked).unwrap_err().to_string()
}

/// The archive without a block.
fn without(archive: &RepoArchive, cid: &Cid) -> Bytes {
    let blocks: Vec<_> = archive.blocks().into_iter().filter(|(other, _)| other != cid).collect();
    to_car(&archive.commit.to_block().0, &blocks)
}

fn node(left: Option<Cid>, entries: Vec<Ipld>) -> Bytes {
    let left = left.map_or(Ipld::Null, |left| Ipld::Link(left.into()));
    let fields = BTreeMap::from([("e".to_owned(), Ipld::List(entries)), ("l".to_owned(), left)]);
    data::cbor::encode(&Ipld::Map(fields)).unwrap().into()
}

fn entry(prefix: usize, key: &str, value: Cid) -> Ipld {
    let (prefix, key) = (i128::try_from(prefix).unwrap(), Ipld::Bytes(key.as_bytes().to_vec()));
    let (key_name, value) = ("k".to_owned(), Ipld::Link(value.into()));
    Ipld::Map(BTreeMap::from([
        (key_name, key),
        ("p".to_owned(), Ipld::Integer(prefix)),
        ("t".to_owned(), Ipld::Null),
        ("v".to_owned(), value),
    ]))
}

/// An archive whose tree is made of these nodes, the root last, beside one record.
fn of_nodes(nodes: &[Bytes]) -> Bytes {
    let nodes: Vec<_> = nodes.iter().map(|node| (Cid::dag_cbor(node), node.clone())).collect();
    let archive = posts(1).with_data(nodes.last().unwrap().0);
    RepoArchive { nodes, ..archive }.to_car()
}

/// An archive with one record of these bytes at this path.
fn of_record(path: &str, block: &[u8]) -> Bytes {
    let records = BTreeMap::from([(path.parse().unwrap(), Bytes::copy_from_slice(block))]);
    RepoArchive::of_blocks(&did(), records).to_car()
}

/// Keys of the lowest layer, in order.
fn leaf_keys(count: usize) -> Vec<Key> {
    let keys = (0..).map(|number: usize| format!("a.b.c/{number:013}"));
    keys.filter(|key| depth(key.as_bytes()) == 0).map(|key| key.parse().unwrap()).take(count).collect()
}

#[test]
fn what_is_good_is_handed_out_in_chunks() {
    let archive = posts(3000);
    let (checked, chunks) = check_all(&archive.to_car()).unwrap();
    assert_eq!((checked.rev, checked.root), (archive.commit.rev, archive.commit.data));
    assert_eq!((checked.records, checked.nodes), (3000, archive.nodes.len() as u64));
    assert!(chunks.len() > 1);
    let records: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.records).collect();
    let paths: Vec<_> = records.iter().map(|record| Key::new(&record.collection, &record.rkey)).collect();
    assert!(paths.iter().eq(archive.records.keys()));
    assert!(
        records
            .iter()
            .map(|record| (record.cid, &record.value[..]))
            .eq(archive.records.values().map(|(cid, value)| (*cid, &value[..])))
    );
    assert!(chunks.iter().flat_map(|chunk| &chunk.nodes).eq(&archive.nodes));
}

#[test]
fn an_empty_repo_is_a_repo() {
    let (checked, chunks) = check_all(&posts(0).to_car()).unwrap();
    assert_eq!((checked.records, checked.nodes), (0, 1));
    assert_eq!(chunks[0].nodes.len(), 1);
}

#[test]
fn order_repetition_and_foreign_blocks_do_not_matter() {
    let archive = posts(50);
    let (expected, _) = check_all(&archive.to_car()).unwrap();
    let mut blocks = archive.blocks();
    blocks.extend(archive.blocks());
    blocks.push((Cid::raw(b"a blob"), Bytes::from_static(b"a blob")));
    blocks.reverse();
    assert_eq!(check_all(&to_car(&archive.commit.to_block().0, &blocks)).unwrap().0, expected);
}

#[test]
fn links_are_found() {
    let like = value(&json!({ "subject": { "uri": "at://did:web:a.test/app.bsky.feed.post/x" } }));
    let follow = value(&json!({ "subject": "did:web:a.test" }));
    let paths = ["app.bsky.feed.like/a", "app.bsky.feed.post/a", "app.bsky.graph.follow/a"];
    let records = paths.map(str::to_owned).into_iter().zip([like, value(&json!({})), follow]);
    let (_, chunks) = check_all(&RepoArchive::new(&did(), records).to_car()).unwrap();
    let targets: Vec<_> = chunks[0].records.iter().map(|record| record.target.as_deref()).collect();
    assert_eq!(targets, [Some("at://did:web:a.test/app.bsky.feed.post/x"), None, Some("did:web:a.test")]);
}

#[test]
fn blob_references_of_either_form_are_found_once_a_record() {
    let (cat, dog) = (Cid::raw(b"cat"), Cid::raw(b"dog"));
    let typed = json!({ "$type": "blob", "ref": { "$link": cat.to_string() }, "mimeType": "image/png", "size": 3 });
    let legacy = json!({ "cid": dog.to_string(), "mimeType": "image/png" });
    let records = [
        ("a.b.c/one".to_owned(), value(&json!({ "images": [typed, typed], "avatar": legacy }))),
        ("a.b.c/two".to_owned(), value(&json!({ "image": typed }))),
    ];
    let (_, chunks) = check_all(&RepoArchive::new(&did(), records).to_car()).unwrap();
    let found = chunks[0].blobs.iter().map(|blob| (blob.rkey.as_str(), blob.cid));
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by_key(|(rkey, cid)| (*rkey, *cid == dog));
    assert_eq!(found, [("one", cat), ("one", dog), ("two", cat)]);
}

#[test]
fn an_archive_that_is_cut_or_changed_anywhere_is_refused() {
    let archive = posts(12).to_car();
    for at in 0..archive.len() {
        assert!(check_all(&archive[..at]).is_err(), "cut at {at}");
        let mut changed = archive.to_vec();
        changed[at] ^= 1;
        assert!(check_all(&changed).is_err(), "changed at {at}");
    }
}

#[test]
fn missing_blocks_are_named() {
    let archive = posts(20);
    let (root, record) = (archive.nodes.last().unwrap().0, archive.records.values().next().unwrap().0);
    for cid in [archive.commit.to_block().0, root, archive.nodes[0].0, record] {
        assert_eq!(refusal(&without(&archive, &cid)), format!("Missing block: {cid}"));
    }
}

#[test]
fn a_commit_must_be_one_of_this_account() {
    let other = RepoArchive::new(&"did:web:other.test".parse().unwrap(), []);
    assert_eq!(refusal(&other.to_car()), "Archive holds the repo of did:web:other.test");
    let (root, blocks) = (posts(1).nodes[0].0, posts(1).blocks());
    assert!(refusal(&to_car(&root, &blocks)).starts_with("Malformed commit: "));
}

#[test]
fn records_must_be_of_the_data_model() {
    let path = "a.b.c/x";
    for (what, path, block) in [
        ("malformed DAG-CBOR", path, &b"\xa2\x62aa\x02\x61b\x01"[..]),
        ("malformed DAG-CBOR", path, b"\xa1\x61a"),
        ("malformed DAG-CBOR", path, b"\xa1\x61a\x18\x01"),
        ("floating point numbers are not allowed", path, b"\xa1\x61a\xfb\x3f\xf8\0\0\0\0\0\0"),
        ("not an object", path, b"\x80"),
        ("invalid collection", "nocollection/x", b"\xa0"),
        ("invalid record key", "a.b.c/..", b"\xa0"),
    ] {
        let expected = format!("Could not parse record at '{path}': {what}");
        assert_eq!(refusal(&of_record(path, block)), expected);
    }
    let too_long = of_record(path, &vec![0; data::cbor::MAX_LEN + 1]);
    assert!(refusal(&too_long).contains("CBOR is too long"));

    let raw = Cid::raw(b"\xa0");
    let nodes = node(None, vec![entry(0, "a.b.c/x", raw)]);
    assert_eq!(refusal(&of_nodes(&[nodes])), "Could not parse record at 'a.b.c/x': not DAG-CBOR");
}

#[test]
fn a_tree_must_be_the_one_its_keys_allow() {
    let value = posts(1).records.values().next().unwrap().0;
    let [low, high] = leaf_keys(2).try_into().unwrap();
    let upper = (0..10_000).map(|number| format!("a.b.c/{number}")).find(|key| depth(key.as_bytes()) == 1).unwrap();
    let pair =
        |first: &Key, second: &Key| node(None, vec![entry(0, first.as_str(), value), entry(0, second.as_str(), value)]);
    for nodes in [
        // Keys out of order, one key twice, keys without their common prefix.
        vec![pair(&high, &low)],
        vec![pair(&low, &low)],
        vec![pair(&low, &high)],
        // Keys of different layers in one node.
        vec![node(None, vec![entry(0, low.as_str(), value), entry(0, &upper, value)])],
        // Not in canonical form.
        vec![Bytes::from_static(b"\xa2\x61l\xf6\x61e\x80")],
        vec![Bytes::from_static(b"\xa0")],
    ] {
        assert!(matches!(check_all(&of_nodes(&nodes)).map(|_| ()), Err(ImportError::Node(..))), "{nodes:?}");
    }
    let leaf = node(None, vec![entry(0, low.as_str(), value)]);
    let untrimmed = node(Some(Cid::dag_cbor(&leaf)), Vec::new());
    let misplaced = node(Some(Cid::dag_cbor(&leaf)), vec![entry(0, low.as_str(), value)]);
    assert!(refusal(&of_nodes(&[leaf.clone(), untrimmed])).starts_with("Malformed tree: "));
    assert!(matches!(check_all(&of_nodes(&[leaf, misplaced])), Err(ImportError::Node(_, NodeError::Layer))));
}

#[test]
fn depth_is_bounded() {
    let mut nodes = vec![node(None, Vec::new())];
    for _ in 0..1000 {
        nodes.push(node(nodes.last().map(|below| Cid::dag_cbor(below)), Vec::new()));
    }
    assert!(refusal(&of_nodes(&nodes)).starts_with("Malformed tree: "));
}

#[test]
fn large_nodes_are_refused() {
    let records = leaf_keys(3000).into_iter().map(|key| (key.to_string(), value(&json!({}))));
    let archive = RepoArchive::new(&did(), records);
    assert!(matches!(check_all(&archive.to_car()).map(|_| ()), Err(ImportError::NodeTooLarge(_))));
}

#[test]
fn one_block_cannot_stand_for_more_than_the_limit() {
    let value = value(&json!({ "text": "a".repeat(10_000) }));
    let records = (0..100).map(|number| (format!("a.b.c/{number}"), value.clone()));
    let archive = RepoArchive::new(&did(), records).to_car();
    assert!(archive.len() < 30_000 + 100 * 10_000);
    assert!(check_within(&archive, 1_100_000).is_ok());
    assert!(matches!(check_within(&archive, 900_000).map(|_| ()), Err(ImportError::TooLarge)));
}
