//! What is read from JSON encodes as CBOR and decodes to the same.

#![no_main]

use atproto::data::{cbor, find_blobs, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(json) = serde_json::from_slice(text) else {
        return;
    };
    let Ok(value) = json::from_json(&json) else {
        return;
    };
    assert_eq!(json::from_json(&json::to_json(&value)).as_ref(), Ok(&value));
    // What is too big is not encoded.
    if let Ok(block) = cbor::encode(&value) {
        assert!(cbor::decode(&block).is_ok_and(|decoded| decoded == value));
    }
    find_blobs(&value);
});
