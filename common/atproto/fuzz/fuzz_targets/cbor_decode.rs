//! What decodes is canonical, and its JSON reads back.

#![no_main]

use atproto::data::{cbor, check_strict, find_blobs, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = cbor::decode(bytes) else {
        return;
    };
    assert_eq!(cbor::encode(&value).expect("decoded values are encodable"), bytes);
    let read = json::from_json(&json::to_json(&value)).expect("decoded values have a JSON form");
    // A map in CBOR may look like a link in JSON; the strict check refuses such maps.
    assert!(read == value || check_strict(&value).is_err());
    find_blobs(&value);
});
