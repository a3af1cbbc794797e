//! The rules of the stream: what each event must be like, after those before it.

use std::collections::HashMap;

use atproto::commit::Commit;
use atproto::crypto::PublicKey;
use atproto::data::Cid;
use atproto::event::{CommitEvent, Event, SyncEvent, VerifyError};
use atproto::syntax::{Did, Tid};
use serde::Serialize;

/// Why a relay would refuse an event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The number is not above the one before.
    #[error("its seq is not above the {0} before it")]
    Seq(i64),
    /// There is no key to check the signature with.
    #[error("the account has no signing key")]
    NoKey,
    /// The event does not verify by itself.
    #[error("{0}")]
    Event(String),
    /// `since` names another commit than the one before.
    #[error("since is {found}, but the commit before has the rev {expected}")]
    Since {
        /// The rev of the commit before.
        expected: Tid,
        /// What the event says.
        found: String,
    },
    /// `prevData` names another tree than the one before.
    #[error("prevData is {found}, but the tree before is {expected}")]
    PrevData {
        /// The tree before.
        expected: Cid,
        /// What the event says.
        found: String,
    },
    /// The rev is below that of the commit before.
    #[error("its rev {found} is not above {before}, the one before it")]
    Rev {
        /// The rev of the commit before.
        before: Tid,
        /// That of this one.
        found: Tid,
    },
}

impl From<VerifyError> for Fault {
    fn from(error: VerifyError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::Event(format!("{error}{cause}"))
    }
}

/// How many events of each kind there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) commits: u64,
    pub(super) syncs: u64,
    pub(super) identities: u64,
    pub(super) accounts: u64,
    /// Numbers left out, in runs: events of deleted accounts, or a jump of the operator's.
    pub(super) gaps: u64,
}

/// What is known of a repo: its newest commit.
#[derive(Clone, Copy)]
struct Tip {
    rev: Tid,
    data: Cid,
}

/// Checks events in the order in which they come. Remembers the newest commit of every repo: some 200 bytes each.
#[derive(Default)]
pub(super) struct Checker {
    first_seq: Option<i64>,
    last_seq: i64,
    tips: HashMap<Did, Tip>,
    counts: Counts,
}

impl Checker {
    /// Checks an event; `key` is the account's. After a fault it goes on from what the event says.
    pub(super) fn check(&mut self, seq: i64, event: &Event, key: Option<&PublicKey>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.first_seq.is_none() {
            self.first_seq = Some(seq);
        } else if seq <= self.last_seq {
            faults.push(Fault::Seq(self.last_seq));
        } else if seq > self.last_seq + 1 {
            self.counts.gaps += 1;
        }
        self.last_seq = seq;
        self.counts.events += 1;
        match event {
            Event::Commit(event) => {
                self.counts.commits += 1;
                self.check_commit(event, key, &mut faults);
            }
            Event::Sync(event) => {
                self.counts.syncs += 1;
                self.check_sync(event, key, &mut faults);
            }
            // That they could be read is all there is to them.
            Event::Identity(_) => self.counts.identities += 1,
            Event::Account(_) => self.counts.accounts += 1,
        }
        faults
    }

    fn check_commit(&mut self, event: &CommitEvent, key: Option<&PublicKey>, faults: &mut Vec<Fault>) {
        if let Some(Tip { rev, data }) = self.tips.get(&event.repo).copied() {
            if event.since != Some(rev) {
                let found = event.since.map_or_else(|| "null".to_owned(), |since| since.to_string());
                faults.push(Fault::Since { expected: rev, found });
            }
            if event.prev_data != Some(data) {
                let found = event.prev_data.map_or_else(|| "missing".to_owned(), |cid| cid.to_string());
                faults.push(Fault::PrevData { expected: data, found });
            }
            if event.rev <= rev {
                faults.push(Fault::Rev { before: rev, found: event.rev });
            }
        }
        self.take(&event.repo, event.verify(key), key, faults);
    }

    /// A `#sync` may lead anywhere but back.
    fn check_sync(&mut self, event: &SyncEvent, key: Option<&PublicKey>, faults: &mut Vec<Fault>) {
        if let Some(Tip { rev, .. }) = self.tips.get(&event.did).copied()
            && event.rev < rev
        {
            faults.push(Fault::Rev { before: rev, found: event.rev });
        }
        self.take(&event.did, event.verify(key), key, faults);
    }

    fn take(
        &mut self,
        did: &Did,
        verified: Result<Commit, VerifyError>,
        key: Option<&PublicKey>,
        faults: &mut Vec<Fault>,
    ) {
        if key.is_none() {
            faults.push(Fault::NoKey);
        }
        match verified {
            Ok(commit) => _ = self.tips.insert(did.clone(), Tip { rev: commit.rev, data: commit.data }),
            Err(error) => {
                faults.push(error.into());
                // What comes next is judged by itself: one fault is told once.
                self.tips.remove(did);
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The first and the last number seen.
    pub(super) fn range(&self) -> Option<(i64, i64)> {
        self.first_seq.map(|first| (first, self.last_seq))
    }

    /// Repos whose commits were seen.
    pub(super) fn repos(&self) -> usize {
        self.tips.len()
    }
}

#[cfg(test)]
mod tests {
    use atproto::commit::UnsignedCommit;
    use atproto::crypto::SigningKey;
    use atproto::syntax::Datetime;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32]).unwrap()
    }

    fn sync(rev: &str) -> Event {
        let did = "did:plc:alice".parse().unwrap();
        let commit = UnsignedCommit { did, rev: rev.parse().unwrap(), data: Cid::dag_cbor(b"") }.sign(&key());
        Event::Sync(SyncEvent::new(&commit, Datetime::from_unix_millis(0)))
    }

    #[test]
    fn numbers_rise_and_may_leave_gaps() {
        let (mut checker, key) = (Checker::default(), key().public_key());
        let mut check = |seq| checker.check(seq, &sync("3lb4ejkzyvk2a"), Some(&key));
        assert_eq!(check(7), []);
        assert_eq!(check(8), []);
        assert_eq!(check(10), []);
        assert_eq!(check(10), [Fault::Seq(10)]);
        assert_eq!(check(9), [Fault::Seq(10)]);
        assert_eq!((checker.counts().gaps, checker.range(), checker.repos()), (1, Some((7, 9)), 1));
    }

    #[test]
    fn revs_do_not_fall() {
        let (mut checker, key) = (Checker::default(), key().public_key());
        assert_eq!(checker.check(1, &sync("3lb4ejkzyvk2b"), Some(&key)), []);
        let (before, found) = ("3lb4ejkzyvk2b".parse().unwrap(), "3lb4ejkzyvk2a".parse().unwrap());
        assert_eq!(checker.check(2, &sync("3lb4ejkzyvk2a"), Some(&key)), [Fault::Rev { before, found }]);
    }

    #[test]
    fn a_signature_is_needed() {
        let mut checker = Checker::default();
        assert_eq!(checker.check(1, &sync("3lb4ejkzyvk2a"), None), [Fault::NoKey]);
        let other = SigningKey::from_bytes(&[8; 32]).unwrap().public_key();
        let faults = checker.check(2, &sync("3lb4ejkzyvk2a"), Some(&other));
        assert!(matches!(&faults[..], [Fault::Event(text)] if text.starts_with("commit is not signed by its account")));
    }
}
