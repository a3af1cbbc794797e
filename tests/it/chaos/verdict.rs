//! What must be true when the smoke has cleared.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail, ensure};
use atproto::car;
use atproto::data::{Cid, cbor, json};
use atproto::event::{CommitEvent, Event};
use atproto::mst::AppliedOp;
use atproto::syntax::Did;
use futures_util::future::try_join_all;
use tokio::sync::watch;

use super::follower::{Tape, follow};
use super::journal::{History, Lives};
use super::stage::{REPLICAS, Stage};
use crate::harness::account::Account;
use crate::harness::archive;
use crate::harness::consumer::{Received, assert_unbroken_chain};

/// All repos by their DIDs.
pub(super) type Histories = BTreeMap<Did, (Account, History)>;

/// Checks that what was acknowledged is what was published and what is stored. `tapes` are what followers of each replica
/// saw; `slow`, what slow consumers saw of the middle.
///
/// # Errors
/// The first thing that is not as it must be.
pub(super) async fn pass(stage: &Stage, histories: &Histories, tapes: &[Tape], slow: &[Vec<Received>]) -> Result<()> {
    let events = &tapes[0].events;
    for (replica, tape) in tapes.iter().enumerate() {
        ensure!(tape.events == *events, "replica {replica} sends something else than the first one");
        ensure!(tape.too_slow == 0, "replica {replica} sends away a consumer that is fast");
    }
    for seen in slow {
        let first = usize::try_from(seen[0].seq - 1)?;
        let sent = events.get(first..first + seen.len());
        ensure!(sent == Some(&seen[..]), "a slow consumer misses something after seq {first}");
    }
    late_consumers(stage, events).await?;
    for (did, (account, history)) in histories {
        assert_unbroken_chain(events, did, &account.signing_key(&stage.plc));
        let published = Published::new(events, did)?;
        compare(history, &published.lives).with_context(|| did.to_string())?;
        stored(stage, account, &published).await.with_context(|| did.to_string())?;
    }
    Ok(())
}

/// Those who come now, with and without a cursor, see the same.
async fn late_consumers(stage: &Stage, events: &[Received]) -> Result<()> {
    let newest = events.last().map(|event| event.seq);
    let (_, end) = watch::channel(newest);
    let tapes = try_join_all(stage.origins().into_iter().map(|origin| follow(origin, end.clone()))).await?;
    ensure!(tapes.iter().all(|tape| tape.events == *events), "a late consumer sees something else");
    Ok(())
}

/// What the events say of one repo.
struct Published {
    lives: History,
    records: BTreeMap<String, Cid>,
    head: Option<Cid>,
}

impl Published {
    fn new(events: &[Received], did: &Did) -> Result<Self> {
        let mut published = Self { lives: History::new(), records: BTreeMap::new(), head: None };
        for received in events {
            if let Event::Commit(event) = &received.event
                && event.repo == *did
            {
                published.add(event).with_context(|| format!("seq {}", received.seq))?;
            }
        }
        Ok(published)
    }

    fn add(&mut self, event: &CommitEvent) -> Result<()> {
        let (_, blocks) = car::read(&event.blocks)?;
        let blocks: HashMap<Cid, bytes::Bytes> = blocks.into_iter().collect();
        for AppliedOp { key, cid, prev } in &event.ops {
            let path = key.to_string();
            ensure!(self.records.get(&path) == prev.as_ref(), "{path} was not {prev:?} before");
            let marker = match cid {
                Some(cid) => Some(marker(blocks.get(cid).context("a record is missing")?)?),
                None => None,
            };
            match cid {
                Some(cid) => self.records.insert(path.clone(), *cid),
                None => self.records.remove(&path),
            };
            self.lives.entry(path).or_default().push(marker);
        }
        self.head = Some(event.commit);
        Ok(())
    }
}

fn marker(block: &[u8]) -> Result<String> {
    let record = json::to_json(&cbor::decode(block)?);
    Ok(record["marker"].as_str().context("a record without marker")?.to_owned())
}

/// Each acknowledged write has its event, and each event its write.
fn compare(acknowledged: &History, published: &History) -> Result<()> {
    for (path, lives) in acknowledged {
        let seen = published.get(path).map_or(&[][..], Lives::as_slice);
        ensure!(seen == lives, "{path}: acknowledged were {lives:?}, published are {seen:?}");
    }
    match published.keys().find(|path| !acknowledged.contains_key(*path)) {
        Some(path) => bail!("{path} is published, and nobody wrote it"),
        None => Ok(()),
    }
}

/// Every replica exports the repo that the events lead to, and it verifies.
async fn stored(stage: &Stage, account: &Account, published: &Published) -> Result<()> {
    let key = account.signing_key(&stage.plc);
    for replica in 0..REPLICAS {
        let client = stage.processes.client(replica);
        let archive = client.get_bytes("com.atproto.sync.getRepo", &[("did", account.did.as_str())]).await?;
        let repo = archive::verify(&archive, &account.did, &key)?;
        ensure!(Some(repo.head) == published.head, "replica {replica} has another head than was published");
        ensure!(repo.records == published.records, "replica {replica} has other records than were published");
    }
    Ok(())
}

#[test]
fn what_is_lost_or_doubled_is_found() {
    let history = |lives: &[Option<&str>]| {
        let lives = lives.iter().map(|marker| marker.map(str::to_owned)).collect();
        History::from([("a/b".to_owned(), lives)])
    };
    let acknowledged = history(&[Some("one"), None]);
    compare(&acknowledged, &acknowledged).unwrap();
    let lost = history(&[Some("one")]);
    let doubled = history(&[Some("one"), None, None]);
    let reordered = history(&[None, Some("one")]);
    for published in [&lost, &doubled, &reordered, &History::new()] {
        compare(&acknowledged, published).unwrap_err();
    }
    compare(&History::new(), &lost).unwrap_err();
}
