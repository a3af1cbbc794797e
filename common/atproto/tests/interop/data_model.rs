//! `data-model/`: JSON, CBOR and CID of the same value, and JSON that is or is not of the data model.

use atproto::data::{Cid, cbor, json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::vectors;

#[derive(Deserialize)]
struct Fixture {
    json: Value,
    cbor_base64: String,
    cid: Cid,
}

#[derive(Deserialize)]
struct Noted {
    note: String,
    json: Value,
}

#[test]
fn json_cbor_and_cid_agree() {
    for fixture in vectors::<Fixture>("data-model/data-model-fixtures.json") {
        let block = STANDARD_NO_PAD.decode(&fixture.cbor_base64).unwrap();
        let value = json::from_json_strict(&fixture.json).unwrap();
        assert_eq!(cbor::encode(&value).unwrap(), block, "{}", fixture.json);
        assert_eq!(cbor::decode(&block).unwrap(), value, "{}", fixture.json);
        assert_eq!(json::to_json(&value), fixture.json);
        assert_eq!(Cid::dag_cbor(&block), fixture.cid);
    }
}

#[test]
fn valid_values_are_read() {
    for Noted { note, json } in vectors("data-model/data-model-valid.json") {
        let value = json::from_json_strict(&json).unwrap_or_else(|error| panic!("{note}: {error}"));
        assert_eq!(cbor::decode(&cbor::encode(&value).unwrap()).unwrap(), value, "{note}");
    }
}

#[test]
fn invalid_values_are_refused() {
    for Noted { note, json } in vectors("data-model/data-model-invalid.json") {
        assert!(json::from_json_strict(&json).is_err(), "{note}");
    }
}
