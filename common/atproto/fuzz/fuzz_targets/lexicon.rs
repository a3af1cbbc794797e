//! Bytes as a record, in JSON and in DAG-CBOR, under every built-in record type; and as a lexicon document.

#![no_main]

use atproto::data::{Ipld, cbor, json};
use atproto::lexicon::{Catalog, Document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = cbor::decode(bytes) {
        validate(&record);
    }
    if let Some(record) = serde_json::from_slice(bytes).ok().and_then(|value| json::from_json(&value).ok()) {
        validate(&record);
    }
    if let Ok(document) = serde_json::from_slice::<Document>(bytes) {
        let _ = Catalog::compile([document]).map_err(|error| error.to_string());
    }
});

fn validate(record: &Ipld) {
    let catalog = Catalog::builtin();
    for collection in catalog.ids().filter(|id| catalog.is_record(id)) {
        for key in ["self", "3lbhbzcxuvc2r", "com.example.thing"] {
            let key = key.parse().expect("is a record key");
            let _ = catalog.validate_record(collection, &key, record).map_err(|error| error.to_string());
        }
    }
}
