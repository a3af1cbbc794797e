//! Bytes as a record, in JSON and in DAG-CBOR, under every built-in record type; and as a lexicon document.

use atproto::data::{Ipld, cbor, json};
use atproto::lexicon::{Catalog, Document};
use serde_json::json;

pub fn run(bytes: &[u8]) {
    if let Ok(record) = cbor::decode(bytes) {
        validate(&record);
    }
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    if let Ok(record) = json::from_json(&value) {
        validate(&record);
    }
    if let Ok(document) = serde_json::from_slice::<Document>(bytes) {
        let _ = Catalog::compile([document]).map_err(|error| error.to_string());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let link = json!({ "$link": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku" });
    let subject =
        json!({ "uri": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/self", "cid": link["$link"] });
    let blob = json!({ "$type": "blob", "ref": link, "mimeType": "image/png", "size": 3 });
    let post = json!({
        "$type": "app.bsky.feed.post",
        "text": "e\u{301}\u{1f1e9}\u{1f1ea}",
        "createdAt": "2026-10-03T12:30:00.123Z",
        "langs": ["en", "de-CH-1901"],
        "tags": ["a"],
        "reply": { "root": subject, "parent": subject },
        "facets": [{
            "index": { "byteStart": 0, "byteEnd": 1 },
            "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": "did:web:localhost" }],
        }],
        "labels": { "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "a" }] },
        "embed": { "$type": "app.bsky.embed.images", "images": [{ "image": blob, "alt": "a", "aspectRatio": { "width": 1, "height": 2 } }] },
    });
    let like = json!({ "$type": "app.bsky.feed.like", "subject": subject, "createdAt": "1985-04-12T23:20:50Z" });
    let profile = json!({ "$type": "app.bsky.actor.profile", "displayName": "a".repeat(700), "avatar": blob, "pinnedPost": subject });
    let document = json!({ "lexicon": 1, "id": "a.b.c", "defs": {
        "main": { "type": "record", "key": "literal:self", "record": { "type": "object", "required": ["a"], "nullable": ["b"], "properties": {
            "a": { "type": "array", "maxLength": 2, "items": { "type": "ref", "ref": "#d" } },
            "b": { "type": "string", "format": "uri", "maxGraphemes": 2, "knownValues": ["x"] },
            "c": { "type": "union", "closed": true, "refs": ["#d", "a.b.c"] },
            "e": { "type": "blob", "accept": ["image/*"], "maxSize": 1 },
            "f": { "type": "integer", "minimum": 0, "enum": [1, 2] },
        } } },
        "d": { "type": "object", "properties": { "x": { "type": "cid-link" }, "y": { "type": "unknown" }, "z": { "type": "bytes" } } },
        "t": { "type": "token" },
    } });
    let query = json!({ "lexicon": 1, "id": "a.b.q", "defs": { "main": { "type": "query",
        "parameters": { "type": "params", "required": ["p"], "properties": { "p": { "type": "array", "items": { "type": "string" } } } },
        "output": { "encoding": "application/json", "schema": { "type": "object", "properties": {} } },
        "errors": [{ "name": "E" }],
    } } });
    let records = [&post, &like, &profile];
    let blocks = records.map(|record| cbor::encode(&json::from_json(record).expect("a value")).expect("small"));
    let texts = records.into_iter().chain([&document, &query]).map(|value| value.to_string().into_bytes());
    texts.chain(blocks).collect()
}

fn validate(record: &Ipld) {
    let catalog = Catalog::builtin();
    for collection in catalog.ids().filter(|id| catalog.is_record(id)) {
        for key in ["self", "3lbhbzcxuvc2r", "com.example.thing"] {
            let key = key.parse().expect("is a record key");
            let _ = catalog.validate_record(collection, &key, record).map_err(|error| error.to_string());
        }
    }
}
