//! Each type and constraint on a lexicon made up for it; then the built-in lexicons on records as clients write them.

mod arbitrary;
mod builtin;
mod documents;
mod values;

use serde_json::{Value, json};

use super::{Catalog, CompileError, Document};
use crate::data::json::from_json;
use crate::syntax::Nsid;

const ID: &str = "com.example.thing";

/// A catalog of the document `com.example.thing` with these definitions.
fn compile(defs: &Value) -> Result<Catalog, CompileError> {
    Catalog::compile([document(&json!({ "lexicon": 1, "id": ID, "defs": defs })).unwrap()])
}

fn document(json: &Value) -> serde_json::Result<Document> {
    serde_json::from_str(&json.to_string())
}

/// Message and place of the first fault of a value under `schema`, or `None` if it is valid.
///
/// The value is the property `value` of a record, whose document also has the definitions `other`.
fn fault_with(schema: &Value, other: Value, value: &Value) -> Option<String> {
    let mut defs = other;
    let record = json!({ "type": "object", "required": ["value"], "properties": { "value": schema } });
    defs["main"] = json!({ "type": "record", "key": "any", "record": record });
    validate(&compile(&defs).unwrap(), ID, "key", &json!({ "$type": ID, "value": value }))
        .map(|message| message.strip_prefix("Invalid com.example.thing record: ").unwrap().to_owned())
}

fn fault(schema: &Value, value: &Value) -> Option<String> {
    fault_with(schema, json!({}), value)
}

/// The message for a record, or `None` if it is valid.
fn validate(catalog: &Catalog, collection: &str, key: &str, record: &Value) -> Option<String> {
    let collection: Nsid = collection.parse().unwrap();
    let record = from_json(record).unwrap();
    catalog.validate_record(&collection, &key.parse().unwrap(), &record).err().map(|error| error.to_string())
}
