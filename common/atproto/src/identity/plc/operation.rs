//! Operations: the links of a DID's chain.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PlcService, State, StateError};
use crate::crypto::{PublicKey, SIGNATURE_LEN, SigningKey};
use crate::data::Cid;
use crate::identity::{PDS_SERVICE_ID, PDS_SERVICE_TYPE, SIGNING_KEY_ID};
use crate::syntax::Did;

/// Longest signed operation in bytes of DAG-CBOR.
pub const MAX_OPERATION_LEN: usize = 4000;

/// Bytes of the hash that the DID is made of: 24 base32 digits.
const DID_HASH_LEN: usize = 15;

/// An operation before it is signed. Its serde form is the JSON of the directory without `sig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum UnsignedOperation {
    /// Creates the DID (`prev` is null) or changes it: the state replaces the one before as a whole.
    #[serde(rename = "plc_operation")]
    Update {
        /// The new state.
        #[serde(flatten)]
        state: State,
        /// The operation before.
        prev: Option<Cid>,
    },
    /// Ends the DID.
    #[serde(rename = "plc_tombstone")]
    Tombstone {
        /// The operation before.
        prev: Cid,
    },
    /// Creates a DID in the form of the directory's first months; found in old chains, no longer made.
    #[serde(rename = "create")]
    LegacyCreate(LegacyCreate),
}

/// The fields of an operation in the oldest form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LegacyCreate {
    /// The signing key, which is also the second rotation key.
    pub signing_key: String,
    /// The first rotation key.
    pub recovery_key: String,
    /// The handle, usually without `at://`.
    pub handle: String,
    /// The server, possibly without `https://`.
    pub service: String,
    /// Always null.
    pub prev: Option<Cid>,
}

/// A signed operation. Its serde form is the JSON of the directory; reading it refuses fields that are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Operation {
    #[serde(flatten)]
    unsigned: UnsignedOperation,
    sig: String,
}

/// An [`Operation`] as it is read, before the check that nothing was left over.
#[derive(Deserialize)]
struct ReadOperation {
    #[serde(flatten)]
    unsigned: UnsignedOperation,
    sig: String,
}

/// Why something is not an operation, or not one that counts.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// Not the JSON of an operation.
    #[error("malformed PLC operation")]
    Malformed(#[source] serde_json::Error),
    /// Fields that no operation has, or `prev` left out. They would be lost, and the CID would be another.
    #[error("PLC operation has unknown or missing fields")]
    Fields,
    /// Not encodable as DAG-CBOR.
    #[error("PLC operation cannot be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More than [`MAX_OPERATION_LEN`] bytes.
    #[error("PLC operation is too long ({MAX_OPERATION_LEN} bytes max)")]
    TooLong,
    /// A state the directory would not take.
    #[error(transparent)]
    State(#[from] StateError),
    /// Not the first operation of a DID, where that is asked for.
    #[error("PLC operation is not a genesis operation")]
    NotGenesis,
    /// Signed by none of the keys, or not in the one form that is allowed.
    #[error("PLC operation has an invalid signature")]
    Signature,
}

impl UnsignedOperation {
    /// The operation that creates a DID.
    pub fn genesis(state: State) -> Self {
        Self::Update { state, prev: None }
    }

    /// The operation before this one; `None` if this is the first.
    pub fn prev(&self) -> Option<Cid> {
        match self {
            Self::Update { prev, .. } | Self::LegacyCreate(LegacyCreate { prev, .. }) => *prev,
            Self::Tombstone { prev } => Some(*prev),
        }
    }

    /// The state after this operation; `None` after a tombstone.
    pub fn state(&self) -> Option<State> {
        match self {
            Self::Update { state, .. } => Some(state.clone()),
            Self::Tombstone { .. } => None,
            Self::LegacyCreate(create) => Some(create.state()),
        }
    }

    /// The bytes a signature is over.
    pub fn signing_bytes(&self) -> Result<Vec<u8>, OperationError> {
        encode(self)
    }

    /// Signs with a key at hand.
    pub fn sign(self, key: &SigningKey) -> Result<Operation, OperationError> {
        let signature = key.sign(&self.signing_bytes()?);
        Ok(self.with_signature(signature))
    }

    /// Adds a signature that was made elsewhere, over [`Self::signing_bytes`].
    pub fn with_signature(self, signature: [u8; SIGNATURE_LEN]) -> Operation {
        Operation { unsigned: self, sig: URL_SAFE_NO_PAD.encode(signature) }
    }
}

impl LegacyCreate {
    fn state(&self) -> State {
        let name = self.handle.strip_prefix("at://").unwrap_or(&self.handle);
        let has_scheme = self.service.starts_with("https://") || self.service.starts_with("http://");
        let scheme = if has_scheme { "" } else { "https://" };
        let pds = PlcService { kind: PDS_SERVICE_TYPE.to_owned(), endpoint: format!("{scheme}{}", self.service) };
        State {
            rotation_keys: vec![self.recovery_key.clone(), self.signing_key.clone()],
            verification_methods: BTreeMap::from([(SIGNING_KEY_ID.to_owned(), self.signing_key.clone())]),
            also_known_as: vec![format!("at://{name}")],
            services: BTreeMap::from([(PDS_SERVICE_ID.to_owned(), pds)]),
        }
    }
}

impl Operation {
    /// What was signed.
    pub fn unsigned(&self) -> &UnsignedOperation {
        &self.unsigned
    }

    /// The operation before this one; `None` if this is the first.
    pub fn prev(&self) -> Option<Cid> {
        self.unsigned.prev()
    }

    /// The state after this operation; `None` after a tombstone.
    pub fn state(&self) -> Option<State> {
        self.unsigned.state()
    }

    /// The CID by which the next operation names this one.
    pub fn cid(&self) -> Result<Cid, OperationError> {
        Ok(Cid::dag_cbor(&encode(self)?))
    }

    /// The DID that this operation creates.
    ///
    /// # Errors
    /// `NotGenesis` if it is not the first of a chain.
    pub fn did(&self) -> Result<Did, OperationError> {
        if self.prev().is_some() {
            return Err(OperationError::NotGenesis);
        }
        let cid = self.cid()?;
        let name = BASE32_NOPAD.encode(&cid.digest()[..DID_HASH_LEN]).to_ascii_lowercase();
        format!("did:plc:{name}").parse().map_err(|error| OperationError::Encode(Box::new(error)))
    }

    /// Checks the signature against the rotation keys of the state before (of a first operation: its own), and says which
    /// of them made it: the lower the number, the more power.
    pub fn verify(&self, rotation_keys: &[PublicKey]) -> Result<usize, OperationError> {
        let signature = URL_SAFE_NO_PAD.decode(&self.sig).map_err(|_| OperationError::Signature)?;
        let message = self.unsigned.signing_bytes()?;
        let signer = rotation_keys.iter().position(|key| key.verify(&message, &signature).is_ok());
        signer.ok_or(OperationError::Signature)
    }

    /// Checks that this operation creates `did` and is signed by one of its own rotation keys.
    pub fn verify_genesis(&self, did: &Did) -> Result<(), OperationError> {
        let state = self.state().ok_or(OperationError::NotGenesis)?;
        if self.did()? != *did {
            return Err(OperationError::NotGenesis);
        }
        let keys = state.parse_rotation_keys().map_err(StateError::from)?;
        self.verify(&keys).map(|_| ())
    }

    /// Checks the directory's limits. Operations that are in the directory already may be older than these limits.
    pub fn check_limits(&self) -> Result<(), OperationError> {
        if encode(self)?.len() > MAX_OPERATION_LEN {
            return Err(OperationError::TooLong);
        }
        match &self.unsigned {
            UnsignedOperation::Update { state, .. } => Ok(state.check()?),
            UnsignedOperation::Tombstone { .. } => Ok(()),
            UnsignedOperation::LegacyCreate(create) => Ok(create.state().check()?),
        }
    }
}

impl TryFrom<Value> for Operation {
    type Error = OperationError;

    fn try_from(json: Value) -> Result<Self, Self::Error> {
        let ReadOperation { unsigned, sig } = ReadOperation::deserialize(&json).map_err(OperationError::Malformed)?;
        let operation = Self { unsigned, sig };
        let same = serde_json::to_value(&operation).is_ok_and(|written| written == json);
        if same { Ok(operation) } else { Err(OperationError::Fields) }
    }
}

/// DAG-CBOR by way of JSON, because a CID in an operation is a text in both.
fn encode<T: Serialize>(operation: &T) -> Result<Vec<u8>, OperationError> {
    let json = serde_json::to_value(operation).map_err(OperationError::Malformed)?;
    serde_ipld_dagcbor::to_vec(&json).map_err(|error| OperationError::Encode(error.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A chain from the public directory: two operations and the rotation keys each sets.
    fn chain() -> [Operation; 2] {
        let genesis = json!({
            "sig": "SMt9lbnrIZphaVysWweU24bobCCZQmROnpSE4_9ZcUZda05TW9kR3povEIWL76_5l28LPphh9zOBnzuT6CsfJA",
            "prev": null,
            "type": "plc_operation",
            "services": {},
            "alsoKnownAs": ["at://op0"],
            "rotationKeys": [
                "did:key:zQ3shbhi3Ecu99Fo6apTVVAzV15RExDaDgoY3mTuQXQsCPGky",
                "did:key:zQ3shdDRwdy9yjepHMnhAmHXZ1sNHikyRUNbJBFmJdEHBSkm1",
            ],
            "verificationMethods": {},
        });
        let update = json!({
            "sig": "5C6Wb29_El2d96XLoaJyBYczpSi4Y0iFiKx5vG6czV5eltBwPeQ2TT8B_EieXy_G3O_aRZrobUBKijQeQfop3g",
            "prev": "bafyreib5gcdoqnzkoylzwzsmhxdigizzl7nlwoe2fujd6aqkgn4yn5juee",
            "type": "plc_operation",
            "services": {},
            "alsoKnownAs": ["at://op1"],
            "rotationKeys": [
                "did:key:zQ3shhZw6NmJJhdWcWqxGfaLKBV7LbW5RVVxbMuQQt5EZExEv",
                "did:key:zQ3shQPH612ZLpKXu6wJ8Nq3xJcZ1KBngAYzV1ifvGFjyfGGM",
            ],
            "verificationMethods": {},
        });
        [genesis, update].map(|json| serde_json::from_value(json).unwrap())
    }

    fn keys(operation: &Operation) -> Vec<PublicKey> {
        operation.state().unwrap().parse_rotation_keys().unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32]).unwrap()
    }

    fn state() -> State {
        let keys = [key(1).public_key(), key(2).public_key()];
        State::for_account(&keys, &key(3).public_key(), &"alice.test".parse().unwrap(), "https://pds.example")
    }

    #[test]
    fn a_public_chain_holds() {
        let [genesis, update] = chain();
        let did: Did = "did:plc:huyin2bxfj3bpg3gjq64nazd".parse().unwrap();
        assert_eq!(genesis.did().unwrap(), did);
        genesis.verify_genesis(&did).unwrap();
        assert_eq!(update.prev(), Some(genesis.cid().unwrap()));
        assert!(update.verify(&keys(&genesis)).is_ok());
        assert!(matches!(update.verify(&keys(&update)), Err(OperationError::Signature)));
        assert!(matches!(update.did(), Err(OperationError::NotGenesis)));
        let cid = "bafyreidygw4qxncobfaz54dujsdamppw5eyzfsjscvzzh62s4lgfdtwkhm";
        assert_eq!(update.cid().unwrap().to_string(), cid);
    }

    #[test]
    fn a_public_legacy_operation_holds() {
        let create: Operation = serde_json::from_value(json!({
            "sig": "KuN3A61golVNSDU71wZKLP9lVuXk6YekJAz1lwDzrPsNTEWHBBW_8zSyV6pDxV4KiYXuAXlS1Ik47XkjQZ94mA",
            "prev": null,
            "type": "create",
            "handle": "jay.bsky.social",
            "service": "https://bsky.social",
            "signingKey": "did:key:zQ3shP5TBe1sQfSttXty15FAEHV1DZgcxRZNxvEWnPfLFwLxJ",
            "recoveryKey": "did:key:zQ3shhCGUqDKjStzuDxPkTxN6ujddP4RkEKJJouJGRRkaLGbg",
        }))
        .unwrap();
        create.verify_genesis(&"did:plc:oky5czdrnfjpqslsw2a5iclo".parse().unwrap()).unwrap();
        let cid = "bafyreidswhiwi4ljkl4es4vwqhkas3spmmktortqbp6lkrb5v7qqdfr3mm";
        assert_eq!(create.cid().unwrap().to_string(), cid);
        assert_eq!(create.verify(&keys(&create)).unwrap(), 1, "signed by the signing key");
        let state = create.state().unwrap();
        assert_eq!(state.also_known_as, ["at://jay.bsky.social"]);
        assert_eq!(state.services[PDS_SERVICE_ID].endpoint, "https://bsky.social");
        create.check_limits().unwrap();
    }

    #[test]
    fn an_own_chain_holds() {
        let genesis = UnsignedOperation::genesis(state()).sign(&key(2)).unwrap();
        let did = genesis.did().unwrap();
        assert_eq!((did.method(), did.identifier().len()), ("plc", 24));
        genesis.verify_genesis(&did).unwrap();
        assert_eq!(genesis.verify(&keys(&genesis)).unwrap(), 1);
        genesis.check_limits().unwrap();

        let prev = genesis.cid().unwrap();
        let tombstone = UnsignedOperation::Tombstone { prev }.sign(&key(1)).unwrap();
        assert_eq!(tombstone.verify(&keys(&genesis)).unwrap(), 0);
        assert_eq!(tombstone.state(), None);
        tombstone.check_limits().unwrap();
        let json = serde_json::to_value(&tombstone).unwrap();
        assert_eq!(json, json!({ "type": "plc_tombstone", "prev": prev.to_string(), "sig": tombstone.sig }));
        assert_eq!(serde_json::from_value::<Operation>(json).unwrap(), tombstone);

        let other = UnsignedOperation::genesis(state()).sign(&key(9)).unwrap();
        assert!(matches!(other.verify_genesis(&other.did().unwrap()), Err(OperationError::Signature)));
        assert!(matches!(genesis.verify_genesis(&other.did().unwrap()), Err(OperationError::NotGenesis)));
    }

    #[test]
    fn only_the_exact_shape_is_read() {
        let operation = UnsignedOperation::genesis(state()).sign(&key(1)).unwrap();
        let json = serde_json::to_value(&operation).unwrap();
        assert_eq!(json["prev"], Value::Null);
        assert_eq!(Operation::try_from(json.clone()).unwrap(), operation);

        let with = |change: fn(&mut Value)| {
            let mut json = json.clone();
            change(&mut json);
            Operation::try_from(json)
        };
        assert!(matches!(with(|json| json["extra"] = json!(1)), Err(OperationError::Fields)));
        assert!(matches!(with(|json| json["services"]["atproto_pds"]["x"] = json!(1)), Err(OperationError::Fields)));
        assert!(with(|json| drop(json.as_object_mut().unwrap().remove("prev"))).is_err());
        assert!(with(|json| drop(json.as_object_mut().unwrap().remove("sig"))).is_err());
        assert!(with(|json| json["type"] = json!("plc_other")).is_err());
        assert!(with(|json| json["type"] = json!("plc_tombstone")).is_err());
        assert!(with(|json| json["prev"] = json!("QmOld")).is_err());
    }

    #[test]
    fn a_changed_or_padded_signature_is_refused() {
        let operation = UnsignedOperation::genesis(state()).sign(&key(1)).unwrap();
        let keys = keys(&operation);
        for sig in
            [format!("{}==", operation.sig), operation.sig.replace(|c: char| c.is_ascii_digit(), "A"), String::new()]
        {
            let changed = Operation { sig, ..operation.clone() };
            assert!(matches!(changed.verify(&keys), Err(OperationError::Signature)));
        }
    }

    #[test]
    fn a_long_operation_is_over_the_limit() {
        let mut state = state();
        state.also_known_as = (0..10).map(|i| format!("at://{i}{}", "a".repeat(250))).collect();
        let long = PlcService { kind: "k".repeat(250), endpoint: "e".repeat(500) };
        state.services = (0..3).map(|i| (i.to_string(), long.clone())).collect();
        let operation = UnsignedOperation::genesis(state).sign(&key(1)).unwrap();
        assert!(matches!(operation.check_limits(), Err(OperationError::TooLong)));
    }
}
