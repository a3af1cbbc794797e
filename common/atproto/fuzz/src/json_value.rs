//! What is read from JSON encodes as CBOR and decodes to the same, and so do the blob references in it.

use atproto::data::{BlobRef, Cid, RecordBlob, cbor, check, check_strict, find_blobs, json};
use serde_json::json;

pub fn run(text: &[u8]) {
    let Ok(json) = serde_json::from_slice(text) else { return };
    let Ok(value) = json::from_json(&json) else {
        assert!(json::from_json_strict(&json).is_err());
        return;
    };
    assert_eq!(check(&value), Ok(()));
    assert_eq!(json::from_json(&json::to_json(&value)).as_ref(), Ok(&value));
    assert_eq!(json::from_json_strict(&json).is_ok(), check_strict(&value).is_ok());
    // What is too big is not encoded.
    if let Ok(block) = cbor::encode(&value) {
        assert!(cbor::decode(&block).is_ok_and(|decoded| decoded == value));
    }
    for blob in find_blobs(&value) {
        if let RecordBlob::Typed(blob) = blob {
            assert_eq!(BlobRef::from_ipld(&blob.to_ipld()), Some(blob));
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let link = json!({ "$link": Cid::raw(b"").to_string() });
    let record = json!({
        "$type": "app.bsky.feed.post",
        "text": "a\n\u{1f600}",
        "embed": { "images": [{ "image": { "$type": "blob", "ref": link, "mimeType": "image/png", "size": 3 } }] },
        "avatar": { "cid": Cid::dag_cbor(b"").to_string(), "mimeType": "image/jpeg" },
        "bytes": { "$bytes": "AQ==" },
        "numbers": [0, -1, 123.0, 9_007_199_254_740_991_u64, 1e300, 0.5, true, null],
    });
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    vec![record.to_string().into_bytes(), link.to_string().into_bytes(), deep.into_bytes()]
}
