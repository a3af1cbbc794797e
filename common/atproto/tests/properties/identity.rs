//! Keys, DID documents and PLC operations.

use atproto::crypto::{PublicKey, SigningKey};
use atproto::identity::plc::{Operation, State, UnsignedOperation};
use atproto::identity::{DidDocument, did_web_document_url};
use atproto::syntax::Did;
use proptest::prelude::*;
use serde_json::{Value, json};

fn key() -> impl Strategy<Value = SigningKey> {
    any::<[u8; 32]>().prop_filter_map("not below the order", |bytes| SigningKey::from_bytes(&bytes).ok())
}

fn state() -> impl Strategy<Value = State> {
    let handle = "[a-z]{1,8}\\.test".prop_filter_map("not a handle", |text| text.parse().ok());
    (key(), key(), handle, "https://[a-z]{1,8}\\.example").prop_map(|(rotation, signing, handle, pds)| {
        State::for_account(&[rotation.public_key()], &signing.public_key(), &handle, &pds)
    })
}

/// Replaces, or adds, one member of an object.
fn damage(mut json: Value, key: &str, value: Value) -> Value {
    if let Some(object) = json.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
    json
}

fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!([1, "a", null, { "id": "#atproto" }])),
        Just(json!({ "$link": 1, "a": { "type": "x", "endpoint": "y" } })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn signatures_verify_and_keys_round_trip(key in key(), message in prop::collection::vec(any::<u8>(), 0..64)) {
        let public = key.public_key();
        prop_assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
        let mut signature = key.sign(&message);
        prop_assert_eq!(public.verify(&message, &signature), Ok(()));
        prop_assert_eq!(public.verify_malleable(&message, &signature), Ok(()));
        signature[40] ^= 1;
        prop_assert!(public.verify(&message, &signature).is_err());
    }

    #[test]
    fn no_text_breaks_the_did_key_parser(text in "(did:key:)?z?[1-9A-HJ-NP-Za-km-z]{0,60}", junk in ".{0,40}") {
        if let Ok(key) = text.parse::<PublicKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
        prop_assert!(junk.parse::<PublicKey>().is_err());
    }

    #[test]
    fn no_signature_breaks_the_check(key in key(), signature in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(key.public_key().verify(b"message", &signature).is_err());
    }

    #[test]
    fn operations_round_trip_and_verify(state in state(), key in key()) {
        let operation = UnsignedOperation::genesis(state).sign(&key).unwrap();
        let json = serde_json::to_value(&operation).unwrap();
        let read = Operation::try_from(json).unwrap();
        prop_assert_eq!(read.cid().unwrap(), operation.cid().unwrap());
        prop_assert_eq!(read.verify(&[key.public_key()]).unwrap(), 0);
    }

    #[test]
    fn damaged_operations_are_refused_or_kept_as_they_are(
        state in state(),
        key in key(),
        member in "(type|prev|sig|services|rotationKeys|verificationMethods|alsoKnownAs|x)",
        junk in junk(),
    ) {
        let operation = UnsignedOperation::genesis(state).sign(&key).unwrap();
        let json = damage(serde_json::to_value(&operation).unwrap(), &member, junk);
        if let Ok(read) = Operation::try_from(json.clone()) {
            prop_assert_eq!(serde_json::to_value(&read).unwrap(), json);
            let _ = (read.check_limits(), read.did(), read.verify(&[key.public_key()]));
        }
    }

    #[test]
    fn damaged_documents_do_no_harm(
        state in state(),
        member in "(@context|id|alsoKnownAs|verificationMethod|service)",
        junk in junk(),
    ) {
        let did: Did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz".parse().unwrap();
        let json = damage(serde_json::to_value(state.document(&did)).unwrap(), &member, junk);
        if let Ok(document) = DidDocument::parse(&did, json.to_string().as_bytes()) {
            let _ = (document.handle(), document.signing_key(), document.pds_endpoint());
        }
    }

    #[test]
    fn did_web_addresses_stay_on_their_host(host in "[a-zA-Z0-9._%:-]{1,20}") {
        let Ok(did) = format!("did:web:{host}").parse::<Did>() else {
            return Ok(());
        };
        if let Some(url) = did_web_document_url(&did) {
            prop_assert!(did.identifier().to_lowercase().starts_with(url.host_str().unwrap()));
            prop_assert_eq!(url.path(), "/.well-known/did.json");
            prop_assert_eq!((url.username(), url.password(), url.query()), ("", None, None));
        }
    }
}
