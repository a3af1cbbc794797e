//! Validation of records against the built-in lexicons, and compiling these.

#![expect(clippy::unwrap_used, reason = "in a benchmark a panic is a failure")]

use atproto::data::Ipld;
use atproto::data::json::from_json;
use atproto::lexicon::{Catalog, builtin_documents};
use atproto::syntax::{Nsid, RecordKey};
use divan::{Bencher, black_box};
use serde_json::json;

fn main() {
    divan::main();
}

fn post(text: &str) -> Ipld {
    let mention = json!({ "$type": "app.bsky.richtext.facet#mention", "did": "did:plc:44ybard66vv44zksje25o7dz" });
    let link = json!({ "$type": "app.bsky.richtext.facet#link", "uri": "https://example.com/a/b?c=d" });
    let image = json!({
        "$type": "blob",
        "ref": { "$link": "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy" },
        "mimeType": "image/jpeg",
        "size": 812_345,
    });
    let post = json!({
        "$type": "app.bsky.feed.post",
        "text": text,
        "createdAt": "2024-11-21T09:08:07.654Z",
        "langs": ["en"],
        "facets": [
            { "index": { "byteStart": 0, "byteEnd": 6 }, "features": [mention] },
            { "index": { "byteStart": 7, "byteEnd": 20 }, "features": [link] },
        ],
        "embed": {
            "$type": "app.bsky.embed.images",
            "images": [{ "alt": "A cat", "aspectRatio": { "width": 4, "height": 3 }, "image": image }],
        },
    });
    from_json(&post).unwrap()
}

/// A post with two facets and a picture, in as many letters as it may have, with and without the need to find graphemes.
#[divan::bench(args = ["plain", "flags"])]
fn validate_post(bencher: Bencher<'_, '_>, kind: &str) {
    let post = post(&if kind == "plain" { "x".repeat(300) } else { "🇩🇪".repeat(300) });
    let (collection, key): (Nsid, RecordKey) =
        ("app.bsky.feed.post".parse().unwrap(), "3lbhbzcxuvc2r".parse().unwrap());
    let catalog = Catalog::builtin();
    assert_eq!(catalog.validate_record(&collection, &key, &post), Ok(()));
    bencher.bench(|| catalog.validate_record(black_box(&collection), black_box(&key), black_box(&post)));
}

/// Reading and compiling all built-in documents, which a program does once.
#[divan::bench]
fn compile_builtin() -> Catalog {
    Catalog::compile(builtin_documents().map(Result::unwrap)).unwrap()
}
