//! All operations of the directory, in memory and in a file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use atproto::identity::plc::Operation;
use atproto::syntax::Did;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::log::{Entry, Log, Refusal};

/// The logs of all DIDs, and the file they are kept in: one entry a line, the oldest first.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    logs: BTreeMap<Did, Log>,
    /// DID and place in its log of every entry, the oldest first.
    order: Vec<(Did, usize)>,
    newest: DateTime<Utc>,
}

impl Store {
    /// Reads the file in `folder`, or starts one.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("operations.jsonl");
        let file = File::options().read(true).append(true).create(true).open(&path)?;
        let text = io::read_to_string(&file)?;
        // A line without an end was being written when the machine died; nobody was told that it is stored.
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(u64::try_from(complete)?)?;
        let mut store = Self { file, logs: BTreeMap::new(), order: Vec::new(), newest: DateTime::UNIX_EPOCH };
        for line in text[..complete].lines() {
            let entry = serde_json::from_str(line).with_context(|| format!("{} is damaged", path.display()))?;
            store.push(entry);
        }
        Ok(store)
    }

    /// Checks an operation and keeps it.
    pub(super) fn submit(&mut self, did: Did, operation: Operation, now: DateTime<Utc>) -> Result<(), Refusal> {
        // Rising, so that `after` of the export leaves nothing out.
        let created_at = now.trunc_subsecs(3).max(self.newest + TimeDelta::milliseconds(1));
        self.logs.get(&did).unwrap_or(&Log::default()).check(&did, &operation, created_at)?;
        let cid = operation.cid()?;
        let entry = Entry { did, operation, cid, nullified: false, created_at };
        let mut line = serde_json::to_vec(&entry).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.push(entry);
        Ok(())
    }

    /// The log of a DID.
    pub(super) fn log(&self, did: &str) -> Result<&Log, Refusal> {
        let log = did.parse::<Did>().ok().and_then(|did| self.logs.get(&did));
        log.ok_or_else(|| Refusal::Unknown(did.to_owned()))
    }

    /// All entries made after `after`, the oldest first.
    pub(super) fn entries_after(&self, after: DateTime<Utc>) -> impl Iterator<Item = &Entry> {
        let entries = self.order.iter().filter_map(|(did, index)| self.logs.get(did)?.all().get(*index));
        entries.filter(move |entry| entry.created_at > after)
    }

    fn push(&mut self, entry: Entry) {
        self.newest = entry.created_at;
        let log = self.logs.entry(entry.did.clone()).or_default();
        self.order.push((entry.did.clone(), log.all().len()));
        log.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;
    use atproto::identity::plc::{State, UnsignedOperation};

    use super::*;

    fn genesis(handle: &str) -> (Did, Operation) {
        let key = SigningKey::from_bytes(&[1; 32]).unwrap();
        let public = key.public_key();
        let state = State::for_account(&[public], &public, &handle.parse().unwrap(), "https://pds.example");
        let operation = UnsignedOperation::genesis(state).sign(&key).unwrap();
        (operation.did().unwrap(), operation)
    }

    fn exported(store: &Store, after: DateTime<Utc>) -> Vec<&str> {
        store.entries_after(after).map(|entry| entry.did.as_str()).collect()
    }

    #[test]
    fn operations_survive_a_restart_and_half_a_line_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (alice, bob) = (genesis("alice.test"), genesis("bob.test"));
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.submit(alice.0.clone(), alice.1.clone(), now).unwrap();
        store.file.write_all(b"{\"did\":\"did:plc:half").unwrap();

        let mut store = Store::open(dir.path()).unwrap();
        store.submit(bob.0.clone(), bob.1, now).unwrap();
        assert!(store.submit(alice.0.clone(), alice.1, now).is_err(), "it is still there");
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(exported(&store, DateTime::UNIX_EPOCH), [alice.0.as_str(), bob.0.as_str()]);
        assert_eq!(exported(&store, now), [bob.0.as_str()], "no two entries have the same time");
        assert!(store.log("did:plc:unknown").is_err());
    }
}
