//! Encoding and decoding of records, and signing.

#![expect(clippy::unwrap_used, reason = "in a benchmark a panic is a failure")]

use atproto::crypto::{PublicKey, SigningKey};
use atproto::data::{Cid, Ipld, cbor, find_blobs, json};
use atproto::syntax::{AtUri, Datetime, Nsid, Tid};
use divan::{Bencher, black_box};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

/// A post with two facets and a picture: about 700 bytes.
fn post() -> Value {
    let link = |uri: &str| json!([{ "$type": "app.bsky.richtext.facet#link", "uri": uri }]);
    let picture = json!({
        "$type": "blob",
        "ref": { "$link": Cid::raw(b"cat").to_string() },
        "mimeType": "image/jpeg",
        "size": 812_345,
    });
    json!({
        "$type": "app.bsky.feed.post",
        "text": "Two links, a picture, and enough words to be an ordinary post on the network: example.com, example.org",
        "createdAt": "2024-11-21T09:08:07.654Z",
        "langs": ["en"],
        "facets": [
            { "index": { "byteStart": 77, "byteEnd": 88 }, "features": link("https://example.com/") },
            { "index": { "byteStart": 90, "byteEnd": 101 }, "features": link("https://example.org/") },
        ],
        "embed": { "$type": "app.bsky.embed.images", "images": [{ "alt": "A cat", "image": picture }] },
    })
}

fn record() -> Ipld {
    json::from_json(&post()).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

#[divan::bench]
fn encode_cbor(bencher: Bencher) {
    let record = record();
    bencher.bench(|| cbor::encode(black_box(&record)).unwrap());
}

#[divan::bench]
fn decode_cbor(bencher: Bencher) {
    let block = cbor::encode(&record()).unwrap();
    bencher.bench(|| cbor::decode(black_box(&block)).unwrap());
}

#[divan::bench]
fn read_json(bencher: Bencher) {
    let text = post().to_string();
    bencher.bench(|| json::from_json(&serde_json::from_str(black_box(&text)).unwrap()).unwrap());
}

#[divan::bench]
fn write_json(bencher: Bencher) {
    let record = record();
    bencher.bench(|| {
        let mut text = Vec::with_capacity(1024);
        json::serialize(black_box(&record), &mut serde_json::Serializer::new(&mut text)).unwrap();
        text
    });
}

#[divan::bench]
fn find_blob_references(bencher: Bencher) {
    let record = record();
    bencher.bench(|| find_blobs(black_box(&record)));
}

#[divan::bench]
fn cid_of_record(bencher: Bencher) {
    let block = cbor::encode(&record()).unwrap();
    bencher.bench(|| Cid::dag_cbor(black_box(&block)));
}

#[divan::bench]
fn sign(bencher: Bencher) {
    let key = key();
    bencher.bench(|| key.sign(black_box(&[1; 200])));
}

#[divan::bench]
fn verify(bencher: Bencher) {
    let (key, signature) = (key().public_key(), key().sign(&[1; 200]));
    bencher.bench(|| key.verify(black_box(&[1; 200]), &signature));
}

#[divan::bench]
fn parse_did_key(bencher: Bencher) {
    let text = key().public_key().to_string();
    bencher.bench(|| black_box(&text).parse::<PublicKey>().unwrap());
}

#[divan::bench]
fn check_nsid() -> bool {
    Nsid::is_valid(black_box("app.bsky.feed.post"))
}

#[divan::bench]
fn check_at_uri() -> bool {
    AtUri::is_valid(black_box("at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3jzfcijpj2z2a"))
}

#[divan::bench]
fn check_datetime() -> bool {
    Datetime::is_valid(black_box("2024-11-21T09:08:07.654Z"))
}

#[divan::bench]
fn write_tid() -> String {
    Tid::from_micros(black_box(1_700_000_000_000_000), 5).to_string()
}
