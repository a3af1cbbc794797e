//! What an operation says about a DID.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::crypto::{Curve, PublicKey, PublicKeyError};
use crate::identity::{DidDocument, PDS_SERVICE_ID, PDS_SERVICE_TYPE, SIGNING_KEY_ID, Service, VerificationMethod};
use crate::syntax::{Did, Handle};

/// Most entries in a list or map of an operation.
const MAX_ENTRIES: usize = 10;
const MAX_ID_LEN: usize = 32;
const MAX_ALIAS_LEN: usize = 258;
const MAX_SERVICE_TYPE_LEN: usize = 256;
const MAX_ENDPOINT_LEN: usize = 512;
const MAX_KEY_LEN: usize = 256;

const DID_KEY: &str = "did:key:";

/// Keys, names and servers of a DID, as an operation sets them. All of it stays text, so that an operation from the
/// directory keeps its CID; [`Self::check`] says whether the directory would take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Keys that may sign the next operation, as `did:key`, the most powerful first.
    pub rotation_keys: Vec<String>,
    /// Keys of the DID document by fragment, as `did:key`.
    pub verification_methods: BTreeMap<String, String>,
    /// Other names, as URIs.
    pub also_known_as: Vec<String>,
    /// Servers of the DID document by fragment.
    pub services: BTreeMap<String, PlcService>,
}

/// A server in an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlcService {
    /// What the server is for.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its URL.
    pub endpoint: String,
}

/// Why the directory would not take a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A list or map with more than 10 entries; of rotation keys there must be at least one.
    #[error("{0} must have at most {MAX_ENTRIES} entries, and rotationKeys at least one")]
    Count(&'static str),
    /// A text that is too long.
    #[error("{0} is too long ({1} bytes max)")]
    TooLong(&'static str, usize),
    /// The same name twice.
    #[error("alsoKnownAs must not repeat a name")]
    DuplicateAlias,
    /// A rotation key that is not a `did:key` on secp256k1 or P-256.
    #[error("invalid rotation key")]
    RotationKey(#[from] PublicKeyError),
    /// A verification method that is not a `did:key`.
    #[error("verification methods must be did:key")]
    VerificationMethod,
}

impl State {
    /// The state of a new account: its signing key, its handle, and its server's URL.
    pub fn for_account(rotation_keys: &[PublicKey], signing_key: &PublicKey, handle: &Handle, pds_url: &str) -> Self {
        let pds = PlcService { kind: PDS_SERVICE_TYPE.to_owned(), endpoint: pds_url.to_owned() };
        Self {
            rotation_keys: rotation_keys.iter().map(PublicKey::to_string).collect(),
            verification_methods: BTreeMap::from([(SIGNING_KEY_ID.to_owned(), signing_key.to_string())]),
            also_known_as: vec![format!("at://{handle}")],
            services: BTreeMap::from([(PDS_SERVICE_ID.to_owned(), pds)]),
        }
    }

    /// Puts `handle` in the place of the first `at://` name, or in front if there is none.
    pub fn set_handle(&mut self, handle: &Handle) {
        let name = format!("at://{handle}");
        match self.also_known_as.iter_mut().find(|name| name.starts_with("at://")) {
            Some(present) => *present = name,
            None => self.also_known_as.insert(0, name),
        }
    }

    /// The rotation keys, parsed.
    pub fn parse_rotation_keys(&self) -> Result<Vec<PublicKey>, PublicKeyError> {
        self.rotation_keys.iter().map(|key| key.parse()).collect()
    }

    /// Checks the limits of the directory on the parts; the limit on the whole is the operation's.
    pub fn check(&self) -> Result<(), StateError> {
        self.check_counts()?;
        self.parse_rotation_keys()?;
        for (id, key) in &self.verification_methods {
            check_len("verification method id", id, MAX_ID_LEN)?;
            check_len("verification method", key, MAX_KEY_LEN)?;
            if !is_did_key(key) {
                return Err(StateError::VerificationMethod);
            }
        }
        for (i, name) in self.also_known_as.iter().enumerate() {
            check_len("alsoKnownAs entry", name, MAX_ALIAS_LEN)?;
            if self.also_known_as[..i].contains(name) {
                return Err(StateError::DuplicateAlias);
            }
        }
        for (id, service) in &self.services {
            check_len("service id", id, MAX_ID_LEN)?;
            check_len("service type", &service.kind, MAX_SERVICE_TYPE_LEN)?;
            check_len("service endpoint", &service.endpoint, MAX_ENDPOINT_LEN)?;
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), StateError> {
        for (what, count) in [
            ("verificationMethods", self.verification_methods.len()),
            ("alsoKnownAs", self.also_known_as.len()),
            ("services", self.services.len()),
        ] {
            if count > MAX_ENTRIES {
                return Err(StateError::Count(what));
            }
        }
        if (1..=MAX_ENTRIES).contains(&self.rotation_keys.len()) {
            Ok(())
        } else {
            Err(StateError::Count("rotationKeys"))
        }
    }

    /// The DID document that the directory shows for this state.
    pub fn document(&self, did: &Did) -> DidDocument {
        let mut context = vec!["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"];
        let mut verification_method = Vec::with_capacity(self.verification_methods.len());
        for (id, key) in &self.verification_methods {
            let suite = match key.parse::<PublicKey>().map(|key| key.curve()) {
                Ok(Curve::K256) => Some("https://w3id.org/security/suites/secp256k1-2019/v1"),
                Ok(Curve::P256) => Some("https://w3id.org/security/suites/ecdsa-2019/v1"),
                Err(_) => None,
            };
            context.extend(suite.filter(|suite| !context.contains(suite)));
            verification_method.push(VerificationMethod {
                id: format!("{did}#{id}"),
                kind: "Multikey".to_owned(),
                controller: Some(did.to_string()),
                public_key_multibase: Some(key.strip_prefix(DID_KEY).unwrap_or(key).to_owned()),
            });
        }
        let services = self.services.iter().map(|(id, service)| Service {
            id: format!("#{id}"),
            kind: service.kind.clone(),
            service_endpoint: json!(service.endpoint),
        });
        DidDocument {
            context: json!(context),
            id: did.clone(),
            also_known_as: self.also_known_as.clone(),
            verification_method,
            service: services.collect(),
        }
    }
}

fn check_len(what: &'static str, text: &str, max: usize) -> Result<(), StateError> {
    if text.len() > max { Err(StateError::TooLong(what, max)) } else { Ok(()) }
}

/// True for a `did:key` of any key type, by its form alone.
fn is_did_key(text: &str) -> bool {
    let base58 = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
    let digits = text.strip_prefix(DID_KEY).and_then(|multibase| multibase.strip_prefix('z'));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(base58))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    const P256_KEY: &str = "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo";

    fn key(seed: u8) -> PublicKey {
        SigningKey::from_bytes(&[seed; 32]).unwrap().public_key()
    }

    fn state() -> State {
        State::for_account(&[key(1)], &key(2), &"alice.test".parse().unwrap(), "https://pds.example")
    }

    fn changed(change: impl FnOnce(&mut State)) -> Result<(), StateError> {
        let mut state = state();
        change(&mut state);
        state.check()
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let keys = |count: u8| (1..=count).map(|seed| key(seed).to_string()).collect();
        let names = |count| (0..count).map(|i| format!("at://a{i}.test")).collect();
        let service =
            |kind: usize, endpoint: usize| PlcService { kind: "k".repeat(kind), endpoint: "e".repeat(endpoint) };
        assert_eq!(changed(|state| state.rotation_keys = keys(10)), Ok(()));
        assert_eq!(changed(|state| state.also_known_as = names(10)), Ok(()));
        assert_eq!(changed(|state| state.also_known_as = vec!["a".repeat(258)]), Ok(()));
        assert_eq!(changed(|state| drop(state.services.insert("s".repeat(32), service(256, 512)))), Ok(()));
        assert_eq!(
            changed(|state| drop(state.verification_methods.insert("x".into(), format!("{DID_KEY}z6Mk")))),
            Ok(())
        );

        assert_eq!(changed(|state| state.rotation_keys = keys(11)), Err(StateError::Count("rotationKeys")));
        assert_eq!(changed(|state| state.rotation_keys.clear()), Err(StateError::Count("rotationKeys")));
        assert_eq!(changed(|state| state.also_known_as = names(11)), Err(StateError::Count("alsoKnownAs")));
        assert_eq!(
            changed(|state| state.also_known_as = vec!["a".repeat(259)]),
            Err(StateError::TooLong("alsoKnownAs entry", 258))
        );
        assert_eq!(
            changed(|state| drop(state.services.insert("s".repeat(33), service(1, 1)))),
            Err(StateError::TooLong("service id", 32))
        );
        assert_eq!(
            changed(|state| drop(state.services.insert("s".into(), service(257, 1)))),
            Err(StateError::TooLong("service type", 256))
        );
        assert_eq!(
            changed(|state| drop(state.services.insert("s".into(), service(1, 513)))),
            Err(StateError::TooLong("service endpoint", 512))
        );
    }

    #[test]
    fn names_and_keys_are_checked() {
        assert_eq!(
            changed(|state| state.also_known_as = vec!["at://a.test".into(); 2]),
            Err(StateError::DuplicateAlias)
        );
        assert_eq!(
            changed(|state| state
                .rotation_keys
                .push(format!("{DID_KEY}z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"))),
            Err(StateError::RotationKey(PublicKeyError::Type))
        );
        for key in ["", "did:key:", "did:key:z", "did:key:z0", "did:key:mAbc", "did:web:example.com"] {
            let result = changed(|state| drop(state.verification_methods.insert("x".into(), key.into())));
            assert_eq!(result, Err(StateError::VerificationMethod), "{key}");
        }
    }

    #[test]
    fn a_new_handle_takes_the_place_of_the_old() {
        let mut state = state();
        state.also_known_as = vec!["https://a.example".into(), "at://old.test".into(), "at://second.test".into()];
        state.set_handle(&"new.test".parse().unwrap());
        assert_eq!(state.also_known_as, ["https://a.example", "at://new.test", "at://second.test"]);
        state.also_known_as = vec!["https://a.example".into()];
        state.set_handle(&"new.test".parse().unwrap());
        assert_eq!(state.also_known_as, ["at://new.test", "https://a.example"]);
    }

    #[test]
    fn the_document_shows_the_state() {
        let did: Did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap();
        let mut state = state();
        state.verification_methods.insert("label".into(), P256_KEY.into());
        let document = state.document(&did);
        assert_eq!(document.handle().unwrap().as_str(), "alice.test");
        assert_eq!(document.signing_key(), Some(key(2)));
        assert_eq!(document.verification_key("label").unwrap().to_string(), P256_KEY);
        assert_eq!(document.pds_endpoint(), Some("https://pds.example"));
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["verificationMethod"][0]["id"], format!("{did}#atproto"));
        assert_eq!(json["service"][0]["id"], "#atproto_pds");
        assert_eq!(json["@context"].as_array().unwrap().len(), 4);
    }
}
