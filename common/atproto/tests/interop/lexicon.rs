//! `lexicon/`: documents that are or are not lexicons, and records that do or do not match one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure")]

use atproto::data::json::from_json;
use atproto::lexicon::{Catalog, Document, ValidationError, builtin_documents};
use serde::Deserialize;
use serde_json::Value;

use crate::{read, vectors};

#[derive(Deserialize)]
struct Lexicon {
    name: String,
    lexicon: Value,
}

#[derive(Deserialize)]
struct Record {
    name: String,
    rkey: String,
    data: Value,
}

/// The documents of `catalog/`, with the built-in ones that they refer to; `None` without vectors.
fn catalog() -> Option<Catalog> {
    let mut documents: Vec<Document> = builtin_documents().map(Result::unwrap).collect();
    for file in ["permission-set", "procedure", "query", "record", "subscription"] {
        documents.push(serde_json::from_str(&read(&format!("lexicon/catalog/{file}.json"))?).unwrap());
    }
    Some(Catalog::compile(documents).unwrap())
}

fn compile(lexicon: Value) -> Result<Catalog, String> {
    let document: Document = serde_json::from_value(lexicon).map_err(|error| error.to_string())?;
    Catalog::compile([document]).map_err(|error| error.to_string())
}

fn validate(catalog: &Catalog, record: &Record) -> Result<(), ValidationError> {
    let value = from_json(&record.data).unwrap();
    catalog.validate_record(&"example.lexicon.record".parse().unwrap(), &record.rkey.parse().unwrap(), &value)
}

#[test]
fn valid_lexicons_compile() {
    for Lexicon { name, lexicon } in vectors("lexicon/lexicon-valid.json") {
        compile(lexicon).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn invalid_lexicons_are_refused() {
    for Lexicon { name, lexicon } in vectors("lexicon/lexicon-invalid.json") {
        assert!(compile(lexicon).is_err(), "{name}");
    }
}

#[test]
fn valid_records_pass() {
    let Some(catalog) = catalog() else { return };
    for record in vectors::<Record>("lexicon/record-data-valid.json") {
        validate(&catalog, &record).unwrap_or_else(|error| panic!("{}: {error}", record.name));
    }
}

#[test]
fn invalid_records_are_refused() {
    let Some(catalog) = catalog() else { return };
    for record in vectors::<Record>("lexicon/record-data-invalid.json") {
        let result = validate(&catalog, &record);
        assert!(matches!(result, Err(ValidationError::Record { .. })), "{}: {result:?}", record.name);
    }
}
