//! The operations of one DID, and which operation may follow them.

use atproto::data::Cid;
use atproto::identity::plc::{Operation, OperationError, State, StateError};
use atproto::syntax::Did;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize, Serializer};

/// Within this time an operation may be overridden by one that a stronger key signed.
const RECOVERY_WINDOW: TimeDelta = TimeDelta::hours(72);

/// An accepted operation. Its serde form is an entry of the audit log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) did: Did,
    pub(super) operation: Operation,
    pub(super) cid: Cid,
    /// Overridden by a stronger key.
    pub(super) nullified: bool,
    #[serde(serialize_with = "in_millis")]
    pub(super) created_at: DateTime<Utc>,
}

/// Why the directory does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// 404.
    #[error("DID not registered: {0}")]
    Unknown(String),
    /// 410.
    #[error("DID not available: {0}")]
    Deactivated(Did),
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// 500.
    #[error("cannot store the operation: {0}")]
    Storage(#[from] std::io::Error),
}

/// All operations of one DID in the order of their arrival.
#[derive(Clone, Default, Debug)]
pub(super) struct Log {
    entries: Vec<Entry>,
}

impl Log {
    /// Every operation that ever counted.
    pub(super) fn all(&self) -> &[Entry] {
        &self.entries
    }

    /// The operations that count.
    pub(super) fn current(&self) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| !entry.nullified).collect()
    }

    /// The state that the newest operation leaves; `None` if that is a tombstone, or if there is none.
    pub(super) fn state(&self) -> Option<State> {
        self.current().last()?.operation.state()
    }

    /// Checks that `operation` may follow now.
    ///
    /// It continues the newest operation, or overrides operations up to 72 hours old if a stronger rotation key signed it
    /// than the first one that it overrides.
    pub(super) fn check(&self, did: &Did, operation: &Operation, now: DateTime<Utc>) -> Result<(), Refusal> {
        operation.check_limits()?;
        let Some(prev) = operation.prev() else {
            if !self.entries.is_empty() {
                return Err(Refusal::Invalid("DID exists already: prev must not be null".to_owned()));
            }
            return Ok(operation.verify_genesis(did)?);
        };
        let current = self.current();
        let Some(at) = current.iter().position(|entry| entry.cid == prev) else {
            return Err(Refusal::Invalid("prev is no operation of this DID that counts".to_owned()));
        };
        let state = current[at].operation.state().ok_or_else(|| Refusal::Deactivated(did.clone()))?;
        let keys = state.parse_rotation_keys().map_err(StateError::from).map_err(OperationError::from)?;
        let signer = operation.verify(&keys)?;
        let Some(overridden) = current.get(at + 1) else { return Ok(()) };
        if signer >= overridden.operation.verify(&keys)? {
            return Err(Refusal::Invalid(
                "prev is not the newest operation, and the key is not a stronger one".to_owned(),
            ));
        }
        if now - overridden.created_at > RECOVERY_WINDOW {
            return Err(Refusal::Invalid(
                "prev is not the newest operation, and it is too late to override".to_owned(),
            ));
        }
        Ok(())
    }

    /// Adds a checked operation, and marks what it overrides.
    pub(super) fn push(&mut self, entry: Entry) {
        let prev = entry.operation.prev();
        for later in self.entries.iter_mut().rev().take_while(|earlier| Some(earlier.cid) != prev) {
            later.nullified = true;
        }
        self.entries.push(entry);
    }
}

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        Self::Invalid(error.to_string())
    }
}

fn in_millis<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;
    use atproto::identity::plc::UnsignedOperation;

    use super::*;

    /// Rotation keys of every state here, the strongest first.
    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32]).unwrap()
    }

    fn state(handle: &str) -> State {
        let keys = [key(1).public_key(), key(2).public_key(), key(3).public_key()];
        State::for_account(&keys, &key(9).public_key(), &handle.parse().unwrap(), "https://pds.example")
    }

    fn hours(count: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::hours(count)
    }

    /// A DID with a log, to which operations are submitted.
    struct Chain(Did, Log);

    impl Chain {
        fn new() -> Self {
            let genesis = UnsignedOperation::genesis(state("op0.test")).sign(&key(2)).unwrap();
            let mut chain = Self(genesis.did().unwrap(), Log::default());
            chain.submit(genesis, 0).unwrap();
            chain
        }

        fn submit(&mut self, operation: Operation, hour: i64) -> Result<Cid, Refusal> {
            let Self(did, log) = self;
            log.check(did, &operation, hours(hour))?;
            let cid = operation.cid().unwrap();
            log.push(Entry { did: did.clone(), operation, cid, nullified: false, created_at: hours(hour) });
            Ok(cid)
        }

        /// Submits a change after `prev`, signed by the key `signer`.
        fn change(&mut self, prev: Cid, signer: u8, handle: &str, hour: i64) -> Result<Cid, Refusal> {
            let change = UnsignedOperation::Update { state: state(handle), prev: Some(prev) };
            self.submit(change.sign(&key(signer)).unwrap(), hour)
        }

        fn genesis(&self) -> Cid {
            self.1.all()[0].cid
        }

        fn handle(&self) -> String {
            self.1.state().unwrap().also_known_as[0].clone()
        }
    }

    fn is_invalid(result: &Result<Cid, Refusal>) -> bool {
        matches!(result, Err(Refusal::Invalid(_)))
    }

    #[test]
    fn operations_follow_each_other() {
        let mut chain = Chain::new();
        let second = chain.change(chain.genesis(), 3, "op1.test", 1).unwrap();
        chain.change(second, 1, "op2.test", 2).unwrap();
        assert_eq!(chain.handle(), "at://op2.test");
        assert!(is_invalid(&chain.change(second, 1, "op3.test", 3)), "the key is as strong, not stronger");
        assert!(is_invalid(&chain.change(chain.genesis(), 9, "op3.test", 3)), "no rotation key");
        assert!(is_invalid(&chain.change(Cid::dag_cbor(b""), 1, "op3.test", 3)), "no such operation");
        let again = UnsignedOperation::genesis(state("op0.test")).sign(&key(2)).unwrap();
        assert!(is_invalid(&chain.submit(again, 3)), "a second beginning");
    }

    #[test]
    fn a_stronger_key_overrides_within_72_hours() {
        let mut chain = Chain::new();
        let stolen = chain.change(chain.genesis(), 2, "stolen.test", 10).unwrap();
        chain.change(stolen, 2, "sold.test", 11).unwrap();
        assert!(is_invalid(&chain.change(chain.genesis(), 3, "weaker.test", 12)));
        assert!(is_invalid(&chain.change(chain.genesis(), 2, "equal.test", 12)));
        assert!(is_invalid(&chain.change(chain.genesis(), 1, "late.test", 83)));
        chain.change(chain.genesis(), 1, "back.test", 82).unwrap();
        assert_eq!(chain.handle(), "at://back.test");
        let nullified: Vec<bool> = chain.1.all().iter().map(|entry| entry.nullified).collect();
        assert_eq!(nullified, [false, true, true, false]);
        assert!(is_invalid(&chain.change(stolen, 1, "again.test", 82)), "prev does not count any more");
    }

    #[test]
    fn a_tombstone_ends_the_did_unless_it_is_overridden() {
        let mut chain = Chain::new();
        let tombstone = UnsignedOperation::Tombstone { prev: chain.genesis() }.sign(&key(2)).unwrap();
        let end = chain.submit(tombstone, 1).unwrap();
        assert!(chain.1.state().is_none());
        assert!(matches!(chain.change(end, 1, "on.test", 2), Err(Refusal::Deactivated(_))));
        chain.change(chain.genesis(), 1, "alive.test", 2).unwrap();
        assert_eq!(chain.handle(), "at://alive.test");
    }

    #[test]
    fn an_entry_has_the_form_of_the_audit_log() {
        let chain = Chain::new();
        let json = serde_json::to_value(&chain.1.all()[0]).unwrap();
        assert_eq!(json["createdAt"], "2023-11-14T22:13:20.000Z");
        assert_eq!(json["cid"], chain.genesis().to_string());
        assert_eq!(
            (json["nullified"].as_bool(), json["operation"]["type"].as_str()),
            (Some(false), Some("plc_operation"))
        );
        assert_eq!(serde_json::from_value::<Entry>(json).unwrap(), chain.1.all()[0]);
    }
}
