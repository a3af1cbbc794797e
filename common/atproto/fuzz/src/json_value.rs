//! What is read from JSON encodes as CBOR and decodes to the same, and so do the blob references in it.

use atproto::data::{BlobRef, Cid, RecordBlob, cbor, check, check_strict, find_blobs, json};
use serde_json::json;

pub fn run(text: &[u8]) {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = json::deserialize(&mut reader).ok().filter(|_| reader.end().is_ok());
    let tree = serde_json::from_slice(text).ok().and_then(|json| json::from_json(&json).ok());
    // In a tree of serde_json some names have a meaning, if any crate asks for it.
    let is_named = text.windows(7).any(|part| part == b"private");
    if let Some(value) = tree.as_ref().filter(|_| !is_named) {
        // As text anew, for the first text may have a key twice, of which the tree knows but the last.
        let again = json::deserialize(&mut serde_json::Deserializer::from_str(&json::to_json(value).to_string()));
        assert!(again.is_ok_and(|again| again == *value));
    }
    let Some(value) = read else { return };
    assert!(is_named || tree.as_ref() == Some(&value));
    let json = json::to_json(&value);
    assert_eq!(check(&value), Ok(()));
    assert_eq!(json::from_json(&json).as_ref(), Ok(&value));
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
        "numbers": [0, -1, 123.0, 9_007_199_254_740_991_u64, true, null],
    });
    let numbers = json!([1e300, -0.0, 0.5]);
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    vec![record.to_string().into(), link.to_string().into(), numbers.to_string().into(), deep.into()]
}
