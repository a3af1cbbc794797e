//! A set of compiled lexicons.

use std::collections::BTreeMap;

use super::compile::compile;
use super::document::Document;
use super::error::{CompileError, ValidationError};
use super::method::{Method, MethodPart};
use super::permission::PermissionSet;
use super::record::Record;
use super::schema::Schema;
use super::validate::Validator;
use crate::data::Ipld;
use crate::syntax::{Nsid, RecordKey};

/// Lexicon documents, compiled once and then only read.
#[derive(Debug)]
pub struct Catalog {
    /// What schema ids point into.
    arena: Box<[Schema]>,
    entries: BTreeMap<Nsid, Entry>,
}

/// What a document is by its `main` definition.
#[derive(Debug)]
pub(super) enum Entry {
    Record(Record),
    Method(Method),
    PermissionSet(PermissionSet),
    /// Only definitions for other documents to refer to.
    Definitions,
}

impl Catalog {
    pub(super) fn new(arena: Vec<Schema>, entries: BTreeMap<Nsid, Entry>) -> Self {
        Self { arena: arena.into(), entries }
    }

    /// Compiles documents, which may refer to each other in any order, but to nothing outside.
    ///
    /// # Errors
    /// Names the first document that is not a lexicon by the specification, or whose references lead nowhere.
    ///
    /// Source: atproto.com/specs/lexicon.
    pub fn compile(documents: impl IntoIterator<Item = Document>) -> Result<Self, CompileError> {
        compile(&documents.into_iter().collect::<Vec<_>>())
    }

    /// Checks a record: that its key is of the kind its collection asks for, and that its value has the collection as
    /// `$type` and matches its schema. Properties that the schema does not name are not looked at.
    ///
    /// Nothing is allocated unless the record is invalid. A value nested deeper than 128 levels is invalid.
    ///
    /// # Errors
    /// `UnknownType` if the catalog has no such record type (see [`Catalog::is_record`]), else the first fault found.
    pub fn validate_record(&self, collection: &Nsid, key: &RecordKey, value: &Ipld) -> Result<(), ValidationError> {
        let Some(Entry::Record(record)) = self.entries.get(collection) else {
            return Err(ValidationError::UnknownType(collection.clone()));
        };
        record.key.check(key).map_err(|issue| ValidationError::RecordKey { collection: collection.clone(), issue })?;
        Validator(&self.arena).check(record.schema, value, 0).map_err(|issue| {
            let issue = issue.in_key("record");
            ValidationError::Record { collection: collection.clone(), issue }
        })
    }

    /// Checks what a method takes or gives. A part without a schema takes any value.
    ///
    /// # Errors
    /// `UnknownType` if the catalog has no such method, else the first fault found.
    pub fn validate_method(&self, method: &Nsid, part: MethodPart, value: &Ipld) -> Result<(), ValidationError> {
        let known = self.method(method).ok_or_else(|| ValidationError::UnknownType(method.clone()))?;
        let Some(schema) = known.schema(part) else {
            return Ok(());
        };
        let result = Validator(&self.arena).check(schema, value, 0);
        result.map_err(|issue| ValidationError::Method { method: method.clone(), part, issue })
    }

    /// True if `id` is a record type of this catalog.
    pub fn is_record(&self, id: &Nsid) -> bool {
        matches!(self.entries.get(id), Some(Entry::Record(_)))
    }

    /// The query, procedure or subscription `id`.
    pub fn method(&self, id: &Nsid) -> Option<&Method> {
        match self.entries.get(id)? {
            Entry::Method(method) => Some(method),
            _ => None,
        }
    }

    /// The permission set `id`.
    pub fn permission_set(&self, id: &Nsid) -> Option<&PermissionSet> {
        match self.entries.get(id)? {
            Entry::PermissionSet(set) => Some(set),
            _ => None,
        }
    }

    /// The names of all documents, in order.
    pub fn ids(&self) -> impl Iterator<Item = &Nsid> {
        self.entries.keys()
    }
}
