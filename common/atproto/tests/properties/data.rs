//! Values in DAG-CBOR and JSON.

use std::collections::BTreeMap;

use atproto::data::{
    BlobRef, CborAsJson, Cid, Codec, Ipld, MAX_INTEGER, RecordBlob, cbor, check_strict, find_blobs, json,
};
use proptest::prelude::*;
use serde_json::Value;

fn cid() -> impl Strategy<Value = Cid> {
    (any::<bool>(), any::<[u8; 32]>())
        .prop_map(|(raw, digest)| Cid::from_digest(if raw { Codec::Raw } else { Codec::DagCbor }, digest))
}

/// Values of the data model, without the reserved keys `$link` and `$bytes`.
fn value() -> impl Strategy<Value = Ipld> {
    let scalar = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        (-MAX_INTEGER..=MAX_INTEGER).prop_map(|integer| Ipld::Integer(integer.into())),
        ".{0,12}".prop_map(Ipld::String),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Ipld::Bytes),
        cid().prop_map(|cid| Ipld::Link(cid.into())),
    ];
    scalar.prop_recursive(6, 64, 6, |inner| {
        let key = prop_oneof!["[a-zA-Z.]{0,6}", ".{0,4}"].prop_filter("reserved", |key| !key.starts_with('$'));
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Ipld::List),
            prop::collection::btree_map(key, inner, 0..6).prop_map(Ipld::Map),
        ]
    })
}

/// JSON that likes the reserved keys.
fn json_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![".{0,8}", "[A-Za-z0-9+/]{0,8}={0,2}", Just("blob".to_owned())].prop_map(Value::from),
        cid().prop_map(|cid| Value::from(cid.to_string())),
    ];
    scalar.prop_recursive(5, 48, 5, |inner| {
        let key = prop_oneof!["\\$(link|bytes|type)", "(ref|mimeType|size|cid)", "[a-z]{0,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

fn blob() -> impl Strategy<Value = BlobRef> {
    (cid(), "[a-z]{1,8}/[a-z]{1,8}", prop::option::of(0..u64::from(u32::MAX)))
        .prop_map(|(cid, mime_type, size)| BlobRef { cid, mime_type, size })
}

proptest! {
    #[test]
    fn cbor_becomes_the_json_of_its_value(value in value()) {
        let text = serde_json::to_string(&CborAsJson(cbor::encode(&value).unwrap())).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json::to_json(&value));
    }

    #[test]
    fn no_bytes_break_the_way_to_json(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let text = serde_json::to_string(&CborAsJson(&bytes));
        if let Ok(value) = cbor::decode(&bytes) {
            prop_assert_eq!(serde_json::from_str::<Value>(&text.unwrap()).unwrap(), json::to_json(&value));
        }
    }

    #[test]
    fn cbor_round_trips(value in value()) {
        let bytes = cbor::encode(&value).unwrap();
        prop_assert_eq!(cbor::decode(&bytes).unwrap(), value);
    }

    #[test]
    fn what_cbor_decodes_was_canonical(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = cbor::decode(&bytes) {
            prop_assert_eq!(cbor::encode(&value).unwrap(), bytes);
        }
    }

    #[test]
    fn damaged_cbor_is_refused_or_canonical(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = cbor::encode(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(value) = cbor::decode(&bytes) {
            prop_assert_eq!(cbor::encode(&value).unwrap(), bytes);
        }
    }

    #[test]
    fn json_round_trips(value in value()) {
        let text = json::to_json(&value).to_string();
        let read: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(json::from_json(&read).unwrap(), value);
    }

    #[test]
    fn what_json_reads_it_writes_and_cbor_encodes(json in json_value()) {
        if let Ok(value) = json::from_json(&json) {
            prop_assert_eq!(json::from_json(&json::to_json(&value)).unwrap(), value.clone());
            prop_assert_eq!(cbor::decode(&cbor::encode(&value).unwrap()).unwrap(), value.clone());
            prop_assert_eq!(json::from_json_strict(&json).is_ok(), check_strict(&value).is_ok());
        }
    }

    #[test]
    fn blobs_are_found_wherever_they_are(blobs in prop::collection::vec(blob(), 0..4), others in value()) {
        let hidden = blobs.iter().fold(Ipld::Null, |inner, blob| {
            let entries = [("a".to_owned(), inner), ("b".to_owned(), Ipld::List(vec![blob.to_ipld()]))];
            Ipld::Map(BTreeMap::from(entries))
        });
        prop_assert_eq!(find_blobs(&others), vec![]);
        let blobs: Vec<RecordBlob> = blobs.into_iter().map(RecordBlob::Typed).collect();
        prop_assert_eq!(find_blobs(&Ipld::List(vec![others, hidden])), blobs);
    }

    #[test]
    fn cid_texts_round_trip(cid in cid()) {
        prop_assert_eq!(cid.to_string().parse::<Cid>().unwrap(), cid);
    }

    #[test]
    fn no_text_or_bytes_break_the_cid_parser(text in "b?[a-zA-Z0-9]{0,70}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(cid) = text.parse::<Cid>() {
            prop_assert_eq!(cid.to_string(), text);
        }
        if let Ok(cid) = Cid::from_bytes(&bytes) {
            prop_assert_eq!(&cid.as_bytes()[..], bytes);
        }
    }
}
