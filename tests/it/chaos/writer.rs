//! Clients that write, and know at the end exactly what they wrote.
//!
//! A write is sent again until it is known to stand. A try that got no answer may go through at any later time, even after
//! its client sent the write again: so each write is made in a way that it can go through only once. An update or delete
//! names the version it replaces, a record key is used for one record only, and a record whose creation was sent twice is
//! never deleted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::journal::{History, Journal, Sample};
use crate::harness::account::Account;
use crate::harness::client::{Client, Refusal};

/// The collection of all records; no schema is known for it.
pub(super) const COLLECTION: &str = "com.example.chaos";
/// How long a call may take. Shorter than some faults, so that clients give up and their writes go through later; longer than
/// a busy machine takes for a call, or nothing but attempts would go on.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a write may take with all its tries.
const LIMIT: Duration = Duration::from_mins(2);
/// The pause between two tries, from the second on.
const RETRY: Duration = Duration::from_millis(20);
/// The pause between two writes, at most: the load should leave time for what happens to it.
const PACE: Duration = Duration::from_millis(60);

/// A client with a session that writes one thing after the other, each at the next of its servers.
#[derive(Debug)]
pub(super) struct Writer {
    name: String,
    account: Account,
    apis: Vec<Client>,
    is_shared: bool,
    journal: Arc<Journal>,
    random: StdRng,
    records: Vec<Record>,
    history: History,
    written: usize,
    turn: usize,
}

/// A record that is there.
#[derive(Clone, Debug)]
struct Record {
    rkey: String,
    marker: String,
    may_go: bool,
}

/// One call that changes a repo.
#[derive(Debug)]
struct Write {
    method: &'static str,
    input: Value,
    /// The record keys it writes, and the markers that the records have then.
    changes: Vec<(String, Option<String>)>,
}

impl Writer {
    /// A writer whose record keys begin with `name`, at servers that it uses in turn.
    pub(super) fn new(name: String, account: Account, origins: &[String], journal: Arc<Journal>, seed: u64) -> Self {
        Self {
            name,
            account,
            apis: origins.iter().map(|origin| Client::with_patience(origin, PATIENCE)).collect(),
            is_shared: false,
            journal,
            random: StdRng::seed_from_u64(seed),
            records: Vec::new(),
            history: History::new(),
            written: 0,
            turn: 0,
        }
    }

    /// Says that others write to the same repo.
    pub(super) fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// Writes this and that until told to stop.
    ///
    /// # Errors
    /// A write is refused, or does not go through in time; or a server does not know what was acknowledged.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) -> Result<Self> {
        while !*stop.borrow() {
            let dice = self.random.random_range(0..100);
            let done = match dice {
                _ if self.records.len() < 2 => self.create("").await,
                0..45 => self.create("").await,
                45..65 => self.update().await,
                65..80 => self.delete().await,
                _ => self.batch().await,
            };
            done.with_context(|| format!("writer {}, write {}", self.name, self.written))?;
            let pause = PACE.mul_f64(self.random.random());
            sleep(pause).await;
        }
        Ok(self)
    }

    /// The repo, and what this writer did to it.
    pub(super) fn into_history(self) -> (Account, History) {
        (self.account, self.history)
    }

    /// Creates a record that carries `ballast` besides its marker.
    ///
    /// # Errors
    /// As [`Writer::run`].
    pub(super) async fn create(&mut self, ballast: &str) -> Result<()> {
        let (rkey, marker) = self.next_name();
        let input = json!({"rkey": rkey, "record": record(&marker, ballast)});
        let write = self.write("com.atproto.repo.createRecord", input, vec![(rkey.clone(), Some(marker.clone()))]);
        let tries = self.submit(write).await?;
        self.records.push(Record { rkey, marker, may_go: tries == 1 });
        Ok(())
    }

    async fn update(&mut self) -> Result<()> {
        let place = self.random.random_range(0..self.records.len());
        let cid = self.current(place).await?;
        let (_, marker) = self.next_name();
        let rkey = self.records[place].rkey.clone();
        let input = json!({"rkey": rkey, "record": record(&marker, ""), "swapRecord": cid});
        let write = self.write("com.atproto.repo.putRecord", input, vec![(rkey, Some(marker.clone()))]);
        self.submit(write).await?;
        self.records[place].marker = marker;
        Ok(())
    }

    async fn delete(&mut self) -> Result<()> {
        let Some(place) = self.expendable() else { return self.create("").await };
        let cid = self.current(place).await?;
        let Record { rkey, .. } = self.records.swap_remove(place);
        let input = json!({"rkey": rkey, "swapRecord": cid});
        let write = self.write("com.atproto.repo.deleteRecord", input, vec![(rkey, None)]);
        self.submit(write).await.map(drop)
    }

    /// Several changes at once. It begins with a creation, so that it cannot go through twice.
    async fn batch(&mut self) -> Result<()> {
        let (mut calls, mut changes, mut created) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.random.random_range(1..=5) {
            let (rkey, marker) = self.next_name();
            calls.push(json!({"$type": "com.atproto.repo.applyWrites#create", "collection": COLLECTION, "rkey": rkey,
                "value": record(&marker, "")}));
            changes.push((rkey.clone(), Some(marker.clone())));
            created.push(Record { rkey, marker, may_go: true });
        }
        let gone = self.expendable().map(|place| self.records.swap_remove(place));
        if let Some(Record { rkey, .. }) = gone {
            calls.push(json!({"$type": "com.atproto.repo.applyWrites#delete", "collection": COLLECTION, "rkey": rkey}));
            changes.push((rkey, None));
        }
        if !self.records.is_empty() {
            let place = self.random.random_range(0..self.records.len());
            let (_, marker) = self.next_name();
            self.records[place].marker.clone_from(&marker);
            let rkey = self.records[place].rkey.clone();
            calls.push(json!({"$type": "com.atproto.repo.applyWrites#update", "collection": COLLECTION, "rkey": rkey,
                "value": record(&marker, "")}));
            changes.push((rkey, Some(marker)));
        }
        let write = self.write("com.atproto.repo.applyWrites", json!({"writes": calls}), changes);
        let tries = self.submit(write).await?;
        self.records.extend(created.into_iter().map(|record| Record { may_go: tries == 1, ..record }));
        Ok(())
    }

    /// A record that may be deleted.
    fn expendable(&mut self) -> Option<usize> {
        let start = self.random.random_range(0..self.records.len().max(1));
        let places = (0..self.records.len()).map(|step| (start + step) % self.records.len());
        places.into_iter().find(|place| self.records[*place].may_go)
    }

    /// A record key that was never used, and a marker.
    fn next_name(&mut self) -> (String, String) {
        self.written += 1;
        let name = format!("{}-{:05}", self.name, self.written);
        (name.clone(), name)
    }

    fn write(&self, method: &'static str, mut input: Value, changes: Vec<(String, Option<String>)>) -> Write {
        input["repo"] = self.account.did.as_str().into();
        if input.get("writes").is_none() {
            input["collection"] = COLLECTION.into();
        }
        Write { method, input, changes }
    }

    /// Sends a write until it stands; gives the number of tries.
    async fn submit(&mut self, write: Write) -> Result<u32> {
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = self.next_api().post(write.method, Some(&self.account.token), &write.input).await;
            match answer {
                Ok(_) => break,
                Err(error) => match error.downcast_ref::<Refusal>() {
                    Some(refusal) if refusal.status < 500 => {
                        // It may be refused because an earlier try went through.
                        ensure!(tries > 1 && self.stands(&write).await?, "{} {}: {error}", write.method, write.input);
                        break;
                    }
                    _ if begun.elapsed() > LIMIT => {
                        return Err(error.context(format!("{} fails {tries} times: {}", write.method, write.input)));
                    }
                    _ => {}
                },
            }
            if tries > 1 {
                sleep(RETRY).await;
            }
        }
        self.journal.note(Sample { begun, ended: Instant::now(), tries, is_shared: self.is_shared });
        for (rkey, marker) in write.changes {
            self.history.entry(format!("{COLLECTION}/{rkey}")).or_default().push(marker);
        }
        Ok(tries)
    }

    /// Whether a write went through: all of it did, or nothing.
    async fn stands(&mut self, write: &Write) -> Result<bool> {
        let (rkey, marker) = &write.changes[0];
        let found = self.read(rkey).await?;
        Ok(found.map(|(found, _)| found) == *marker)
    }

    /// The CID of a record, which must be as it was written last, whatever server is asked.
    async fn current(&mut self, place: usize) -> Result<String> {
        let Record { rkey, marker, .. } = self.records[place].clone();
        match self.read(&rkey).await? {
            Some((found, cid)) if found == marker => Ok(cid),
            found => bail!("{rkey} holds {found:?} after {marker} was acknowledged"),
        }
    }

    /// The marker and CID of a record.
    async fn read(&mut self, rkey: &str) -> Result<Option<(String, String)>> {
        let begun = Instant::now();
        loop {
            let did = self.account.did.to_string();
            let params = [("repo", did.as_str()), ("collection", COLLECTION), ("rkey", rkey)];
            match self.next_api().get("com.atproto.repo.getRecord", &params).await {
                Ok(found) => {
                    let text = |value: &Value| value.as_str().map(str::to_owned).context("an incomplete answer");
                    return Ok(Some((text(&found["value"]["marker"])?, text(&found["cid"])?)));
                }
                Err(error) => match error.downcast_ref::<Refusal>() {
                    Some(refusal) if refusal.name == "RecordNotFound" => return Ok(None),
                    Some(refusal) if refusal.status < 500 => return Err(error),
                    _ if begun.elapsed() > LIMIT => return Err(error.context(format!("cannot read {rkey}"))),
                    _ => sleep(RETRY).await,
                },
            }
        }
    }

    fn next_api(&mut self) -> Client {
        self.turn += 1;
        self.apis[self.turn % self.apis.len()].clone()
    }
}

fn record(marker: &str, ballast: &str) -> Value {
    json!({"$type": COLLECTION, "marker": marker, "ballast": ballast})
}
