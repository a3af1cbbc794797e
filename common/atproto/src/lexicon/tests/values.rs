use serde_json::{Value, json};

use super::{ID, compile, fault, fault_with, validate};
use crate::lexicon::Catalog;

const CID: &str = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq";

/// Checks that each value is valid, or has this fault at `$.record.value`.
#[track_caller]
fn check(schema: &Value, cases: &[(Value, Option<&str>)]) {
    for (value, expected) in cases {
        let expected = expected.map(|message| {
            let place = if message.contains(" at $") { "" } else { " at $.record.value" };
            format!("{message}{place}")
        });
        assert_eq!(fault(schema, value), expected, "{value} under {schema}");
    }
}

#[test]
fn every_type_refuses_the_others() {
    let link = json!({ "$link": CID });
    let blob = json!({ "$type": "blob", "ref": link, "mimeType": "image/png", "size": 1 });
    let samples = [
        ("null", json!(null)),
        ("boolean", json!(true)),
        ("integer", json!(1)),
        ("string", json!("a")),
        ("bytes", json!({ "$bytes": "AQ" })),
        ("cid-link", link),
        ("blob", blob),
        ("array", json!([1])),
        ("object", json!({})),
        ("unknown", json!({ "a": { "b": [null] } })),
    ];
    for (kind, _) in &samples {
        let schema = json!({ "type": kind, "items": { "type": "integer" }, "properties": {} });
        for (other, value) in &samples {
            // An unnamed object without properties takes whatever is a map.
            let valid =
                kind == other || matches!((*kind, *other), ("object", "unknown" | "blob") | ("unknown", "object"));
            let name = match *kind {
                "cid-link" => "cid",
                "unknown" => "object",
                kind => kind,
            };
            let message = fault(&schema, value);
            assert_eq!(message.is_none(), valid, "{value} as {kind}: {message:?}");
            assert!(
                message.is_none_or(|text| text.starts_with(&format!("Expected {name} value type (got "))),
                "{kind}"
            );
        }
    }
}

#[test]
fn booleans() {
    let one_of = |text| format!("Expected true (got {text})");
    check(
        &json!({ "type": "boolean", "const": true }),
        &[(json!(true), None), (json!(false), Some(&one_of("false"))), (json!("true"), Some(&one_of("\"true\"")))],
    );
}

#[test]
fn integers() {
    check(
        &json!({ "type": "integer", "minimum": -1, "maximum": 3 }),
        &[
            (json!(-1), None),
            (json!(3), None),
            (json!(-2), Some("integer too small (minimum -1, got -2)")),
            (json!(4), Some("integer too big (maximum 3, got 4)")),
        ],
    );
    check(
        &json!({ "type": "integer", "enum": [4, 9] }),
        &[(json!(9), None), (json!(5), Some("Expected one of 4 or 9 (got 5)"))],
    );
    check(
        &json!({ "type": "integer", "enum": [4, 9], "const": 4 }),
        &[(json!(4), None), (json!(9), Some("Expected 4 (got 9)"))],
    );
    check(&json!({ "type": "integer", "default": 1 }), &[(json!(7), None)]);
}

#[test]
fn string_lengths_count_bytes() {
    check(
        &json!({ "type": "string", "minLength": 2, "maxLength": 4 }),
        &[
            (json!("ab"), None),
            (json!("éé"), None),
            (json!("a"), Some("string too small (minimum 2, got 1)")),
            (json!("ééé"), Some("string too big (maximum 4, got 6)")),
        ],
    );
}

#[test]
fn graphemes_are_counted_apart_from_bytes() {
    check(
        &json!({ "type": "string", "minGraphemes": 2, "maxGraphemes": 3 }),
        &[
            (json!("ab"), None),
            (json!("👩‍👩‍👦‍👦👩‍👩‍👦‍👦👩‍👩‍👦‍👦"), None),
            (json!("👩‍👩‍👦‍👦"), Some("grapheme too small (minimum 2, got 1)")),
            (json!("abcd"), Some("grapheme too big (maximum 3, got 4)")),
        ],
    );
}

#[test]
fn string_values() {
    check(
        &json!({ "type": "string", "enum": ["a", "b", "c"] }),
        &[
            (json!("c"), None),
            (json!("d"), Some(r#"Expected one of "a", "b" or "c" (got "d")"#)),
            (json!(1), Some(r#"Expected one of "a", "b" or "c" (got 1)"#)),
        ],
    );
    check(
        &json!({ "type": "string", "const": "a" }),
        &[(json!("a"), None), (json!("b"), Some(r#"Expected "a" (got "b")"#))],
    );
    check(&json!({ "type": "string", "knownValues": ["a"], "default": "a" }), &[(json!("b"), None)]);
}

#[test]
fn string_formats() {
    for (format, name, good) in [
        ("at-identifier", "AT identifier", "did:plc:44ybard66vv44zksje25o7dz"),
        ("at-uri", "at-uri", "at://example.com/app.bsky.feed.post/3kznmn7xqxl22"),
        ("cid", "CID string", CID),
        ("datetime", "datetime", "2024-11-05T12:34:56.789Z"),
        ("did", "DID", "did:web:example.com"),
        ("handle", "handle", "alice.example.com"),
        ("language", "language", "pt-BR"),
        ("nsid", "NSID", "app.bsky.feed.post"),
        ("record-key", "record key", "self"),
        ("tid", "TID string", "3kznmn7xqxl22"),
        ("uri", "uri", "https://example.com/a?b#c"),
    ] {
        let expected = format!("Invalid {name} (got \"a b\")");
        check(&json!({ "type": "string", "format": format }), &[(json!(good), None), (json!("a b"), Some(&expected))]);
    }
}

#[test]
fn bytes() {
    check(
        &json!({ "type": "bytes", "minLength": 2, "maxLength": 3 }),
        &[
            (json!({ "$bytes": "AAAA" }), None),
            (json!({ "$bytes": "AA" }), Some("bytes too small (minimum 2, got 1)")),
            (json!({ "$bytes": "AAAAAA" }), Some("bytes too big (maximum 3, got 4)")),
        ],
    );
}

#[test]
fn blobs() {
    let blob = |mime_type: &str, size: i64| json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": mime_type, "size": size });
    check(
        &json!({ "type": "blob", "accept": ["image/*", "video/mp4"], "maxSize": 10 }),
        &[
            (blob("image/png", 10), None),
            (blob("video/mp4", 0), None),
            (
                blob("video/webm", 1),
                Some(r#"Expected one of "image/*" or "video/mp4" (got "video/webm") at $.record.value.mimeType"#),
            ),
            (
                blob("imagery/png", 1),
                Some(r#"Expected one of "image/*" or "video/mp4" (got "imagery/png") at $.record.value.mimeType"#),
            ),
            (blob("image/png", 11), Some("blob too big (maximum 10, got 11)")),
            (blob("png", 1), Some(r#"Expected blob value type (got {"$type": ..., "mimeType": ..., ...})"#)),
            (blob("image/png", -1), Some(r#"Expected blob value type (got {"$type": ..., "mimeType": ..., ...})"#)),
        ],
    );
    check(&json!({ "type": "blob", "accept": ["*/*"] }), &[(blob("a/b", 1 << 40), None)]);

    let mut extra = blob("image/png", 1);
    extra["alt"] = json!("a cat");
    let legacy = json!({ "cid": CID, "mimeType": "image/png" });
    for value in [extra, legacy] {
        assert!(fault(&json!({ "type": "blob" }), &value).unwrap().starts_with("Expected blob value type"), "{value}");
    }
}

#[test]
fn arrays() {
    check(
        &json!({ "type": "array", "minLength": 1, "maxLength": 2, "items": { "type": "string", "maxLength": 1 } }),
        &[
            (json!(["a", "b"]), None),
            (json!([]), Some("array too small (minimum 1, got 0)")),
            (json!(["a", "b", "c"]), Some("array too big (maximum 2, got 3)")),
            (json!(["a", 1]), Some("Expected string value type (got 1) at $.record.value[1]")),
            (json!(["a", "bc"]), Some("string too big (maximum 1, got 2) at $.record.value[1]")),
        ],
    );
}

#[test]
fn objects() {
    check(
        &json!({
            "type": "object",
            "required": ["a", "c"],
            "nullable": ["b"],
            "properties": { "a": { "type": "integer" }, "b": { "type": "integer" }, "c": { "type": "integer" } },
        }),
        &[
            (json!({ "a": 1, "c": 1 }), None),
            (json!({ "a": 1, "b": null, "c": 1, "more": [1.0] }), None),
            (json!({ "c": 1 }), Some("Missing required key \"a\"")),
            (json!({ "a": null, "c": 1 }), Some("Expected integer value type (got null) at $.record.value.a")),
            (json!({ "a": 1, "b": "1", "c": 1 }), Some("Expected integer value type (got \"1\") at $.record.value.b")),
        ],
    );
}

#[test]
fn of_several_faults_the_first_in_the_document_is_reported() {
    let text = r#"{ "lexicon": 1, "id": "com.example.thing", "defs": { "main": { "type": "record", "key": "any", "record": {
        "type": "object", "required": ["a", "b"], "properties": { "b": { "type": "null" }, "a": { "type": "null" } }
    } } } }"#;
    let catalog = Catalog::compile([serde_json::from_str(text).unwrap()]).unwrap();
    let message = validate(&catalog, ID, "key", &json!({})).unwrap();
    assert_eq!(message, "Invalid com.example.thing record: Missing required key \"b\" at $.record");
}

#[test]
fn references_lead_to_definitions() {
    let other = json!({
        "named": { "type": "object", "properties": { "next": { "type": "ref", "ref": "#named" }, "a": { "type": "integer" } } },
        "short": { "type": "string", "maxLength": 1 },
        "sign": { "type": "token" },
    });
    for (reference, value, expected) in [
        ("#named", json!({ "next": { "next": {} } }), None),
        ("#named", json!({ "$type": "com.example.thing#named", "a": 1 }), None),
        (
            "com.example.thing#named",
            json!({ "a": "b" }),
            Some("Expected integer value type (got \"b\") at $.record.value.a"),
        ),
        (
            "#named",
            json!({ "next": { "$type": "com.example.thing#other", "a": "b" } }),
            Some(r#"Expected "com.example.thing#named" (got "com.example.thing#other") at $.record.value.next.$type"#),
        ),
        ("#short", json!("a"), None),
        ("#short", json!("ab"), Some("string too big (maximum 1, got 2) at $.record.value")),
        ("#sign", json!("com.example.thing#sign"), None),
        ("#sign", json!("sign"), Some(r#"Expected "com.example.thing#sign" (got "sign") at $.record.value"#)),
        ("#sign", json!(1), Some("Expected token value type (got 1) at $.record.value")),
    ] {
        let schema = json!({ "type": "ref", "ref": reference });
        assert_eq!(fault_with(&schema, other.clone(), &value).as_deref(), expected, "{value} as {reference}");
    }
}

#[test]
fn unions_go_by_type() {
    let other = json!({
        "one": { "type": "object", "properties": { "a": { "type": "integer" } } },
        "two": { "type": "object", "required": ["b"], "properties": { "b": { "type": "integer" } } },
    });
    let one = json!({ "$type": "com.example.thing#one", "a": 1 });
    let bad = json!({ "$type": "com.example.thing#one", "a": "1" });
    let stranger = json!({ "$type": "com.example.other#one", "a": "1" });
    let inner = Some("Expected integer value type (got \"1\") at $.record.value.a");
    let untyped = r#"Expected an object which includes the "$type" property value type (got "#;
    let closed = r#"Expected one of "com.example.thing#one" or "com.example.thing#two" (got "com.example.other#one") at $.record.value.$type"#;
    for (is_closed, value, expected) in [
        (false, &one, None),
        (true, &one, None),
        (false, &bad, inner),
        (true, &bad, inner),
        (false, &stranger, None),
        (true, &stranger, Some(closed)),
        (false, &json!({ "$type": 1 }), Some("Expected string value type (got 1) at $.record.value.$type")),
        (false, &json!({ "$type": "com.example.thing#two" }), Some("Missing required key \"b\" at $.record.value")),
        (false, &json!({ "a": 1 }), Some(&*format!(r#"{untyped}{{"a": ...}}) at $.record.value"#))),
        (false, &json!("one"), Some(&*format!("{untyped}\"one\") at $.record.value"))),
    ] {
        let schema = json!({ "type": "union", "refs": ["#one", "#two"], "closed": is_closed });
        assert_eq!(fault_with(&schema, other.clone(), value).as_deref(), expected, "{value}, closed: {is_closed}");
    }
    assert_eq!(fault(&json!({ "type": "union", "refs": [] }), &stranger), None);
}

#[test]
fn a_record_inside_a_record_has_its_type() {
    let schema = json!({ "type": "union", "refs": [ID] });
    assert_eq!(fault(&schema, &json!({ "$type": ID, "value": { "$type": "com.example.other" } })), None);
    let schema = json!({ "type": "ref", "ref": ID });
    let inner = json!({ "value": { "$type": ID, "value": { "$type": ID } } });
    assert_eq!(fault(&schema, &inner).unwrap(), "Missing required key \"value\" at $.record.value.value.value");
}

#[test]
fn unknown_takes_objects_but_not_blobs() {
    let schema = json!({ "type": "unknown" });
    check(&schema, &[(json!({ "$type": "com.example.other", "a": null }), None)]);
    let blob = json!({ "$type": "blob", "ref": { "$link": CID }, "mimeType": "image/png", "size": 1 });
    assert!(fault(&schema, &blob).unwrap().starts_with("Expected object value type"));
}

#[test]
fn records_have_the_collection_as_type() {
    let catalog = compile(&json!({
        "main": { "type": "record", "key": "any", "record": { "type": "object", "properties": {} } },
    }));
    let catalog = catalog.unwrap();
    for (record, expected) in [
        (json!({ "$type": ID }), None),
        (json!({}), Some("Expected \"com.example.thing\" (got undefined) at $.record.$type")),
        (
            json!({ "$type": "com.example.other" }),
            Some("Expected \"com.example.thing\" (got \"com.example.other\") at $.record.$type"),
        ),
        (json!([]), Some("Expected object value type (got []) at $.record")),
    ] {
        let expected = expected.map(|message| format!("Invalid com.example.thing record: {message}"));
        assert_eq!(validate(&catalog, ID, "key", &record), expected);
    }
    assert_eq!(
        validate(&catalog, "com.example.other", "key", &json!({})).unwrap(),
        "Unknown lexicon type: com.example.other"
    );
}

#[test]
fn record_keys_are_of_the_kind_asked_for() {
    for (kind, good, bad, message) in [
        ("tid", "3kznmn7xqxl22", "self", "Invalid TID string (got \"self\") at $"),
        ("nsid", "com.example.thing", "self", "Invalid NSID (got \"self\") at $"),
        ("literal:self", "self", "me", "Expected \"self\" (got \"me\") at $"),
        ("any", "~any:thing", "", ""),
    ] {
        let record = json!({ "type": "object", "properties": {} });
        let catalog = compile(&json!({ "main": { "type": "record", "key": kind, "record": record } })).unwrap();
        assert_eq!(validate(&catalog, ID, good, &json!({ "$type": ID })), None, "{kind}");
        if !bad.is_empty() {
            let expected = format!("Invalid record key for com.example.thing: {message}");
            assert_eq!(validate(&catalog, ID, bad, &json!({ "$type": ID })).unwrap(), expected);
        }
    }
}
