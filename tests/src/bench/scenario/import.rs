//! A large repository moves in.

use anyhow::{Context as _, Result};
use atproto::car;
use atproto::commit::UnsignedCommit;
use atproto::crypto::SigningKey;
use atproto::data::{Cid, cbor, json};
use atproto::mst::{self, Key};
use atproto::syntax::{Did, Tid};
use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::time::sleep;

use crate::connection::Call;
use crate::measure::{Done, SAMPLE_INTERVAL, Tally, Watch};
use crate::post::COLLECTION;
use crate::row::Row;
use crate::session::Session;

/// Records of the archive, which then has 45 MB.
const RECORDS: u32 = 128_000;
/// The same, to see only that it works.
const QUICK_RECORDS: u32 = 2000;
/// The time that the first record's key stands for, in microseconds; the others follow a second apart.
const EPOCH_MICROS: u64 = 1_700_000_000_000_000;

/// One archive into a new account.
pub(super) async fn import(session: &mut Session) -> Result<Row> {
    let account = session.new_accounts(1).await?.pop().context("no account")?;
    let records = if session.scale.quick { QUICK_RECORDS } else { RECORDS };
    let archive = archive(account.did.parse()?, records)?;
    let done = Done { count: u64::from(records), bytes: u64::try_from(archive.len())? };
    let call =
        Call::upload("com.atproto.repo.importRepo", "application/vnd.ipld.car", archive)?.signed_in(&account.token);
    let mut connection = session.connection()?;
    let mut watch = Watch::start(&session.target.processes);
    let outcome = {
        let sending = connection.send(&call);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                outcome = &mut sending => break outcome,
                () = sleep(SAMPLE_INTERVAL) => watch.sample(),
            }
        }
    };
    let cost = watch.stop();
    let mut tally = Tally::default();
    match outcome {
        Ok(_) => tally.count(done),
        Err(error) => tally.fail(error),
    }
    if tally.failures == 0 {
        let page = format!("com.atproto.repo.listRecords?repo={}&collection={COLLECTION}&limit=1", account.did);
        let newest = connection.ask(&Call::query(&page)?).await?;
        if newest["records"][0]["value"]["text"] != text(records - 1) {
            tally.fail(anyhow::anyhow!("the newest record is not that of the archive: {newest}"));
        }
    }
    Ok(Row::new(tally, &cost).counting("record"))
}

/// A repository of `count` posts. Whoever imports it signs it again, so the key does not matter.
fn archive(did: Did, count: u32) -> Result<Bytes> {
    let (mut blocks, mut entries) = (BytesMut::new(), Vec::new());
    for index in 0..count {
        let record = json!({
            "$type": COLLECTION,
            "text": text(index),
            "langs": ["en"],
            "createdAt": "2023-11-14T22:13:20.000Z",
        });
        let block = cbor::encode(&json::from_json(&record)?)?;
        let cid = Cid::dag_cbor(&block);
        let rkey = Tid::from_micros(EPOCH_MICROS + u64::from(index) * 1_000_000, 0).to_string();
        entries.push((Key::new(&COLLECTION.parse()?, &rkey.parse()?), cid));
        car::section(&cid, &block, &mut blocks);
    }
    let data = mst::build(entries, |node| car::section(&node.cid, &node.bytes, &mut blocks))?;
    let rev = Tid::from_micros(EPOCH_MICROS, 0);
    let commit = UnsignedCommit { did, rev, data }.sign(&SigningKey::generate(&mut rand::rng()));
    let (root, commit) = commit.to_block();
    let mut archive = BytesMut::from(&car::header(&root)[..]);
    car::section(&root, &commit, &mut archive);
    archive.extend_from_slice(&blocks);
    Ok(archive.freeze())
}

/// What the post says.
fn text(index: u32) -> String {
    format!(
        "Rook number {index} was seen on the tall elms behind the church this morning, \
         and by noon it had quarrelled with all of the others about every single branch."
    )
}
