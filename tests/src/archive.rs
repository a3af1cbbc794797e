//! A large repo that no server ever had, as an archive to import.

use anyhow::Result;
use atproto::car;
use atproto::commit::UnsignedCommit;
use atproto::crypto::SigningKey;
use atproto::data::{Cid, Ipld, cbor};
use atproto::mst::{self, Key};
use atproto::syntax::{Did, Tid};
use bytes::BytesMut;

/// Fills a post up, so that a record takes some 350 bytes of the archive, as in real ones.
const FILLING: usize = 130;
/// When the repo was signed: 2024.
const REV_MICROS: u64 = 1_704_067_200_000_000;

/// The archive of a repo of `records` posts: record `i` has the key `i` in 13 digits and the text `post i` and 130 times
/// `x`. The same arguments always give the same bytes. It is signed with a key that no DID document names.
///
/// # Errors
/// Never in practice: the paths are paths, in order, and the records encode.
pub fn synthetic(did: &Did, records: usize) -> Result<BytesMut> {
    let mut blocks = Vec::with_capacity(records);
    let mut entries = Vec::with_capacity(records);
    for number in 0..records {
        let block = cbor::encode(&post(number))?;
        let path: Key = format!("app.bsky.feed.post/{number:013}").parse()?;
        let cid = Cid::dag_cbor(&block);
        entries.push((path, cid));
        blocks.push((cid, block));
    }
    let mut nodes = Vec::new();
    let data = mst::build(entries, |node| nodes.push((node.cid, node.bytes)))?;
    let key = SigningKey::from_bytes(&[9; 32])?;
    let commit = UnsignedCommit { did: did.clone(), rev: Tid::from_micros(REV_MICROS, 0), data }.sign(&key);
    let (root, commit) = commit.to_block();

    let mut archive = BytesMut::from(&car::header(&root)[..]);
    car::section(&root, &commit, &mut archive);
    for (cid, node) in nodes.iter().rev() {
        car::section(cid, node, &mut archive);
    }
    for (cid, block) in &blocks {
        car::section(cid, block, &mut archive);
    }
    Ok(archive)
}

fn post(number: usize) -> Ipld {
    let text = |text: &str| Ipld::String(text.to_owned());
    let fields = [
        ("$type", text("app.bsky.feed.post")),
        ("createdAt", text("2024-01-01T00:00:00.000Z")),
        ("text", text(&format!("post {number} {}", "x".repeat(FILLING)))),
    ];
    Ipld::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
}
