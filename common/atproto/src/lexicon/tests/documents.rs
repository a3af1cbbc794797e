use serde_json::{Value, json};

use super::{ID, compile, document};
use crate::lexicon::{Catalog, CompileFault, MethodKind, MethodPart};
use crate::syntax::Nsid;

fn id() -> Nsid {
    ID.parse().unwrap()
}

#[test]
fn malformed_documents_are_not_read() {
    for (what, json) in [
        ("no id", json!({ "lexicon": 1, "defs": {} })),
        ("id that is no NSID", json!({ "lexicon": 1, "id": "thing", "defs": {} })),
        ("no definitions", json!({ "lexicon": 1, "id": ID })),
        ("definition without type", json!({ "lexicon": 1, "id": ID, "defs": { "a": {} } })),
        ("type that does not exist", json!({ "lexicon": 1, "id": ID, "defs": { "a": { "type": "float" } } })),
        (
            "format that does not exist",
            json!({ "lexicon": 1, "id": ID, "defs": { "a": { "type": "string", "format": "x" } } }),
        ),
        ("negative length", json!({ "lexicon": 1, "id": ID, "defs": { "a": { "type": "string", "maxLength": -1 } } })),
        ("array without items", json!({ "lexicon": 1, "id": ID, "defs": { "a": { "type": "array" } } })),
        ("union without members", json!({ "lexicon": 1, "id": ID, "defs": { "a": { "type": "union" } } })),
    ] {
        assert!(document(&json).is_err(), "{what}");
    }
    let twice = r#"{"lexicon":1,"id":"com.example.thing","defs":{"a":{"type":"token"},"a":{"type":"token"}}}"#;
    assert!(serde_json::from_str::<crate::lexicon::Document>(twice).is_err());
}

#[test]
fn definitions_that_make_no_sense_do_not_compile() {
    let misplaced = |kind, place: &str| CompileFault::Misplaced { kind, place: place.into() };
    let object = |property: Value| json!({ "a": { "type": "object", "properties": { "b": property } } });
    let record = |key: &str, record: Value| json!({ "main": { "type": "record", "key": key, "record": record } });
    let empty = json!({ "type": "object", "properties": {} });
    let body = |body: Value| json!({ "main": { "type": "query", "output": body } });
    for (defs, fault) in [
        (json!({ "a": { "type": "unknown" } }), misplaced("unknown", "#a")),
        (json!({ "main": { "type": "ref", "ref": "#main" } }), misplaced("ref", "#main")),
        (json!({ "a": { "type": "record", "key": "any", "record": empty } }), misplaced("record", "#a")),
        (json!({ "a": { "type": "query" } }), misplaced("query", "#a")),
        (record("any", json!({ "type": "string" })), misplaced("string", "record")),
        (record("key", empty.clone()), CompileFault::RecordKey("key".into())),
        (record("literal:", empty.clone()), CompileFault::RecordKey("literal:".into())),
        (object(json!({ "type": "token" })), misplaced("token", "a.b")),
        (object(json!({ "type": "params" })), misplaced("params", "a.b")),
        (object(json!({ "type": "ref", "ref": "#b" })), CompileFault::UnresolvedRef("#b".into())),
        (
            object(json!({ "type": "ref", "ref": "com.example.other" })),
            CompileFault::UnresolvedRef("com.example.other".into()),
        ),
        (
            json!({ "main": { "type": "query" }, "a": { "type": "array", "items": { "type": "ref", "ref": "#main" } } }),
            CompileFault::UnresolvedRef("#main".into()),
        ),
        (object(json!({ "type": "union", "refs": [], "closed": true })), CompileFault::Unsatisfiable("a.b".into())),
        (object(json!({ "type": "integer", "enum": [] })), CompileFault::Unsatisfiable("a.b".into())),
        (object(json!({ "type": "string", "enum": ["a"], "const": "b" })), CompileFault::Unsatisfiable("a.b".into())),
        (json!({ "a": { "type": "object", "required": ["b"] } }), CompileFault::UndefinedProperty("b".into())),
        (json!({ "a": { "type": "object", "nullable": ["b"] } }), CompileFault::UndefinedProperty("b".into())),
        (
            json!({ "a": { "type": "array", "items": { "type": "union", "refs": ["#b"] } }, "b": { "type": "token" } }),
            CompileFault::UnionMember("#b".into()),
        ),
        (json!({ "main": { "type": "query", "parameters": empty } }), misplaced("object", "parameters")),
        (
            json!({ "main": { "type": "query", "parameters": { "type": "params", "properties": { "a": { "type": "blob" } } } } }),
            misplaced("blob", "a"),
        ),
        (body(json!({ "encoding": "a/b, c/d" })), CompileFault::Encoding("a/b, c/d".into())),
        (body(json!({ "encoding": "a/b", "schema": { "type": "string" } })), misplaced("string", "output")),
        (json!({ "main": { "type": "subscription", "message": { "schema": empty } } }), misplaced("object", "message")),
    ] {
        let error = compile(&defs).err().unwrap_or_else(|| panic!("{defs} compiles"));
        assert_eq!((error.document, error.fault), (id(), fault), "{defs}");
    }
}

#[test]
fn documents_have_one_version_and_one_name() {
    let first =
        |version| document(&json!({ "lexicon": version, "id": ID, "defs": { "a": { "type": "token" } } })).unwrap();
    assert_eq!(Catalog::compile([first(2)]).unwrap_err().fault, CompileFault::Version(2));
    let error = Catalog::compile([first(1), first(1)]).unwrap_err();
    assert_eq!(error.to_string(), "lexicon com.example.thing: is defined twice");
}

#[test]
fn documents_may_refer_to_later_ones() {
    let this =
        json!({ "a": { "type": "object", "properties": { "b": { "type": "ref", "ref": "com.example.later" } } } });
    let this = document(&json!({ "lexicon": 1, "id": ID, "defs": this })).unwrap();
    let later = document(&json!({ "lexicon": 1, "id": "com.example.later", "defs": { "main": { "type": "string" } } }))
        .unwrap();
    let catalog = Catalog::compile([this, later]).unwrap();
    assert_eq!(catalog.ids().map(Nsid::as_str).collect::<Vec<_>>(), ["com.example.later", ID]);
    assert!(!catalog.is_record(&id()));
    assert!(catalog.method(&id()).is_none());
}

#[test]
fn methods_check_what_they_take_and_give() {
    let catalog = compile(&json!({ "main": {
        "type": "procedure",
        "parameters": {
            "type": "params",
            "required": ["limit"],
            "properties": {
                "limit": { "type": "integer", "maximum": 10 },
                "tags": { "type": "array", "items": { "type": "string" } },
            },
        },
        "input": { "encoding": "*/*" },
        "output": { "encoding": "application/json", "schema": { "type": "object", "properties": { "a": { "type": "string" } } } },
        "errors": [{ "name": "NotFound" }],
    } }));
    let catalog = catalog.unwrap();
    let method = catalog.method(&id()).unwrap();
    assert_eq!(method.kind(), MethodKind::Procedure);
    assert_eq!((method.input_encoding(), method.output_encoding()), (Some("*/*"), Some("application/json")));
    assert_eq!(method.errors().collect::<Vec<_>>(), ["NotFound"]);

    for (part, value, expected) in [
        (MethodPart::Parameters, json!({ "limit": 1, "tags": ["a"] }), None),
        (
            MethodPart::Parameters,
            json!({ "limit": 11 }),
            Some("parameters: integer too big (maximum 10, got 11) at $.limit"),
        ),
        (MethodPart::Parameters, json!({}), Some("parameters: Missing required key \"limit\" at $")),
        (MethodPart::Input, json!([1]), None),
        (MethodPart::Output, json!({ "a": 1 }), Some("output: Expected string value type (got 1) at $.a")),
        (MethodPart::Message, json!(1), None),
    ] {
        let value = crate::data::json::from_json(&value).unwrap();
        let message = catalog.validate_method(&id(), part, &value).err().map(|error| error.to_string());
        assert_eq!(message, expected.map(|text| format!("Invalid com.example.thing {text}")));
    }
}
