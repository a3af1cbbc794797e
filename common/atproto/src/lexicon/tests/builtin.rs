use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::validate;
use crate::lexicon::{Catalog, MethodKind, builtin_documents};
use crate::syntax::Nsid;

const TID: &str = "3lbhbzcxuvc2r";
const DID: &str = "did:plc:44ybard66vv44zksje25o7dz";

#[derive(Deserialize)]
struct Source {
    package: String,
    version: String,
    sha256: String,
}

#[test]
fn the_manifest_describes_every_document() {
    let mut manifest: BTreeMap<String, Source> =
        serde_json::from_str(include_str!("../../../lexicons/manifest.json")).unwrap();
    let ids: Vec<_> = builtin_documents().map(|document| document.unwrap().id().to_string()).collect();
    assert!(ids.is_sorted());
    for (id, line) in ids.iter().zip(include_str!("../../../lexicons/lexicons.jsonl").lines()) {
        let source = manifest.remove(id).unwrap_or_else(|| panic!("{id} is not in the manifest"));
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(line));
        assert_eq!(source.sha256, sha256, "{id}");
        assert!(!source.package.is_empty() && !source.version.is_empty(), "{id}");
    }
    assert_eq!(manifest.keys().next(), None, "in the manifest only");
}

#[test]
fn documents_carry_no_prose() {
    fn check(value: &Value) {
        match value {
            Value::Object(entries) => {
                assert!(!entries.get("description").is_some_and(Value::is_string));
                entries.values().for_each(check);
            }
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    include_str!("../../../lexicons/lexicons.jsonl")
        .lines()
        .for_each(|line| check(&serde_json::from_str(line).unwrap()));
}

#[test]
fn record_types_are_those_of_the_reference() {
    let catalog = Catalog::builtin();
    let records: Vec<_> = catalog.ids().filter(|id| catalog.is_record(id)).map(Nsid::as_str).collect();
    assert_eq!(
        records,
        [
            "app.bsky.actor.contentVisibilityDeclaration",
            "app.bsky.actor.profile",
            "app.bsky.actor.status",
            "app.bsky.feed.generator",
            "app.bsky.feed.like",
            "app.bsky.feed.post",
            "app.bsky.feed.postgate",
            "app.bsky.feed.repost",
            "app.bsky.feed.threadgate",
            "app.bsky.graph.block",
            "app.bsky.graph.follow",
            "app.bsky.graph.list",
            "app.bsky.graph.listblock",
            "app.bsky.graph.listitem",
            "app.bsky.graph.referencelistoptout",
            "app.bsky.graph.starterpack",
            "app.bsky.graph.verification",
            "app.bsky.labeler.service",
            "app.bsky.notification.declaration",
            "chat.bsky.actor.declaration",
            "com.atproto.lexicon.schema",
            "com.germnetwork.declaration",
        ]
    );
}

#[test]
fn methods_and_permission_sets_are_known() {
    let catalog = Catalog::builtin();
    for (id, kind) in [
        ("com.atproto.repo.createRecord", Some(MethodKind::Procedure)),
        ("com.atproto.sync.getRepo", Some(MethodKind::Query)),
        ("com.atproto.sync.subscribeRepos", Some(MethodKind::Subscription)),
        ("com.atproto.repo.defs", None),
        ("app.bsky.feed.post", None),
    ] {
        assert_eq!(catalog.method(&id.parse().unwrap()).map(crate::lexicon::Method::kind), kind, "{id}");
    }
    let set = catalog.permission_set(&"app.bsky.authCreatePosts".parse().unwrap()).unwrap();
    assert_eq!(set.title.as_deref(), Some("Create Bluesky Posts"));
    assert!(set.permissions.iter().any(|permission| permission.resource == "rpc" && permission.inherit_aud));
    let repo = set.permissions.iter().find(|permission| permission.resource == "repo").unwrap();
    assert_eq!(repo.action.as_deref(), Some(&["create".to_owned()][..]));
    assert!(repo.collection.iter().any(|collection| collection == "app.bsky.feed.post"));
}

fn post() -> Value {
    let strong_ref = json!({
        "uri": format!("at://{DID}/app.bsky.feed.post/{TID}"),
        "cid": "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq",
    });
    json!({
        "$type": "app.bsky.feed.post",
        "text": "✨ see https://example.com and @alice.example.com #fun",
        "createdAt": "2024-11-21T09:08:07.654Z",
        "langs": ["en", "pt-BR"],
        "tags": ["fun"],
        "reply": { "root": strong_ref, "parent": strong_ref },
        "labels": { "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "graphic-media" }] },
        "facets": [
            {
                "index": { "byteStart": 8, "byteEnd": 27 },
                "features": [{ "$type": "app.bsky.richtext.facet#link", "uri": "https://example.com" }],
            },
            {
                "$type": "app.bsky.richtext.facet",
                "index": { "byteStart": 32, "byteEnd": 50 },
                "features": [{ "$type": "app.bsky.richtext.facet#mention", "did": DID }, { "$type": "blue.example.facet#new" }],
            },
        ],
        "embed": {
            "$type": "app.bsky.embed.images",
            "images": [{
                "alt": "A cat",
                "aspectRatio": { "width": 2000, "height": 1500 },
                "image": {
                    "$type": "blob",
                    "ref": { "$link": "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy" },
                    "mimeType": "image/jpeg",
                    "size": 812_345,
                },
            }],
        },
        "via": "A client's own field",
    })
}

#[test]
fn records_as_clients_write_them_are_valid() {
    let subject = json!({
        "uri": format!("at://{DID}/app.bsky.feed.post/{TID}"),
        "cid": "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq",
    });
    let created_at = "2024-11-21T09:08:07.654321+01:00";
    for (collection, key, mut record) in [
        ("app.bsky.feed.post", TID, post()),
        ("app.bsky.feed.post", TID, json!({ "text": "", "createdAt": created_at })),
        ("app.bsky.feed.like", TID, json!({ "subject": subject, "createdAt": created_at })),
        ("app.bsky.feed.repost", TID, json!({ "subject": subject, "createdAt": created_at, "via": subject })),
        ("app.bsky.graph.follow", TID, json!({ "subject": DID, "createdAt": created_at })),
        ("app.bsky.graph.block", TID, json!({ "subject": DID, "createdAt": created_at })),
        (
            "app.bsky.actor.profile",
            "self",
            json!({ "displayName": "Alice 🦋", "description": "Hi", "pinnedPost": subject }),
        ),
        ("app.bsky.actor.profile", "self", json!({})),
        ("chat.bsky.actor.declaration", "self", json!({ "allowIncoming": "following" })),
        (
            "app.bsky.feed.threadgate",
            TID,
            json!({
                "post": format!("at://{DID}/app.bsky.feed.post/{TID}"),
                "allow": [{ "$type": "app.bsky.feed.threadgate#mentionRule" }],
                "createdAt": created_at,
            }),
        ),
        (
            "com.atproto.lexicon.schema",
            "com.example.thing",
            json!({ "lexicon": 1, "id": "com.example.thing", "defs": {} }),
        ),
    ] {
        record["$type"] = json!(collection);
        assert_eq!(validate(Catalog::builtin(), collection, key, &record), None, "{record}");
    }
}

#[test]
fn faults_in_a_post_are_named_and_placed() {
    for (pointer, value, expected) in [
        ("/text", json!("x".repeat(301)), "grapheme too big (maximum 300, got 301) at $.record.text"),
        ("/text", json!("🦋".repeat(1000)), "string too big (maximum 3000, got 4000) at $.record.text"),
        ("/createdAt", json!("yesterday"), "Invalid datetime (got \"yesterday\") at $.record.createdAt"),
        ("/langs/1", json!("portugês"), "Invalid language (got \"portugês\") at $.record.langs[1]"),
        ("/reply/parent/uri", json!("http://a"), "Invalid at-uri (got \"http://a\") at $.record.reply.parent.uri"),
        (
            "/facets/0/index/byteEnd",
            json!(-1),
            "integer too small (minimum 0, got -1) at $.record.facets[0].index.byteEnd",
        ),
        (
            "/facets/1/features/0/did",
            json!("@alice"),
            "Invalid DID (got \"@alice\") at $.record.facets[1].features[0].did",
        ),
        (
            "/embed/images/0/image/size",
            json!(100_000_000),
            "blob too big (maximum 2000000, got 100000000) at $.record.embed.images[0].image",
        ),
        ("/embed/images/0/alt", json!(null), "Expected string value type (got null) at $.record.embed.images[0].alt"),
        ("/embed/$type", json!(null), "Expected string value type (got null) at $.record.embed.$type"),
    ] {
        let mut post = post();
        *post.pointer_mut(pointer).unwrap() = value;
        let expected = format!("Invalid app.bsky.feed.post record: {expected}");
        assert_eq!(validate(Catalog::builtin(), "app.bsky.feed.post", TID, &post), Some(expected));
    }
    assert_eq!(
        validate(Catalog::builtin(), "app.bsky.feed.post", "self", &post()).unwrap(),
        "Invalid record key for app.bsky.feed.post: Invalid TID string (got \"self\") at $"
    );
}

#[test]
fn a_fault_in_a_batch_names_the_write() {
    let collection: Nsid = "app.bsky.feed.post".parse().unwrap();
    let record = crate::data::json::from_json(&json!({ "$type": "app.bsky.feed.post", "text": "" })).unwrap();
    let error = Catalog::builtin().validate_record(&collection, &TID.parse().unwrap(), &record).unwrap_err();
    assert_eq!(
        error.in_write(3).to_string(),
        "Invalid app.bsky.feed.post record: Missing required key \"createdAt\" at $.writes[3].record"
    );
}
