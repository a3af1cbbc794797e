use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::data::{Cid, Ipld};
use crate::lexicon::Catalog;
use crate::syntax::Nsid;

/// Names from the built-in lexicons, so that values get past the first property.
const NAMES: &[&str] = &[
    "$type",
    "text",
    "createdAt",
    "facets",
    "features",
    "index",
    "byteStart",
    "reply",
    "root",
    "parent",
    "uri",
    "cid",
    "embed",
    "images",
    "image",
    "alt",
    "langs",
    "labels",
    "values",
    "val",
    "subject",
    "ref",
    "mimeType",
    "size",
    "record",
    "media",
    "did",
];

const TEXTS: &[&str] = &[
    "app.bsky.feed.post",
    "app.bsky.embed.images",
    "app.bsky.richtext.facet#link",
    "com.atproto.label.defs#selfLabels",
    "blob",
    "image/png",
    "2024-01-01T00:00:00Z",
    "en",
    "at://did:web:a.com/app.bsky.feed.post/3kznmn7xqxl22",
    "",
    "👩‍👩‍👦‍👦",
];

fn values() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i128>().prop_map(Ipld::Integer),
        (-10i128..1000).prop_map(Ipld::Integer),
        any::<f64>().prop_map(Ipld::Float),
        any::<String>().prop_map(Ipld::String),
        prop::sample::select(TEXTS).prop_map(|text| Ipld::String(text.into())),
        vec(any::<u8>(), 0..8).prop_map(Ipld::Bytes),
        Just(Ipld::Link(Cid::raw(b"").into())),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let name = prop::sample::select(NAMES).prop_map(String::from);
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Ipld::List),
            btree_map(name, inner.clone(), 0..8).prop_map(Ipld::Map),
            btree_map(any::<String>(), inner, 0..4).prop_map(Ipld::Map),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_makes_the_validator_panic(value in values()) {
        let catalog = Catalog::builtin();
        let records: Vec<&Nsid> = catalog.ids().filter(|id| catalog.is_record(id)).collect();
        for collection in records {
            for key in ["self", "3kznmn7xqxl22", "com.example.thing"] {
                let _ = catalog.validate_record(collection, &key.parse().unwrap(), &value).map_err(|error| error.to_string());
            }
        }
    }
}

#[test]
fn depth_is_bounded() {
    let defs = serde_json::json!({ "main": {
        "type": "record",
        "key": "any",
        "record": { "type": "object", "properties": { "next": { "type": "union", "refs": ["com.example.thing"] } } },
    } });
    let catalog = super::compile(&defs).unwrap();
    let nested = |levels: usize| {
        (0..levels).fold(None, |next: Option<Ipld>, _| {
            let mut map = BTreeMap::from([("$type".to_owned(), Ipld::String(super::ID.into()))]);
            map.extend(next.map(|next| ("next".to_owned(), next)));
            Some(Ipld::Map(map))
        })
    };
    let validate = |value: Ipld| {
        let result = catalog.validate_record(&super::ID.parse().unwrap(), &"a".parse().unwrap(), &value);
        result.map_err(|error| error.to_string())
    };
    assert_eq!(validate(nested(crate::data::MAX_DEPTH).unwrap()), Ok(()));
    assert!(validate(nested(2000).unwrap()).unwrap_err().contains("nested too deep"));
}
