//! The validator: walks a value along its schema and stops at the first fault.

use std::collections::BTreeMap;

use super::blob::{check_blob, has_blob_type};
use super::issue::{Issue, show_literal, show_name};
use super::schema::{Bounds, Literal, ObjectRule, Property, Schema, SchemaId, TypeRule, UnionRule};
use super::string::check_string;
use crate::data::{Ipld, MAX_DEPTH, MAX_INTEGER};

/// Walks values over the schemas of one catalog.
///
/// `depth` is how many lists and maps hold the value in question; a bound keeps the recursion off the stack's end,
/// whatever the value.
pub(super) struct Validator<'a>(pub(super) &'a [Schema]);

impl Validator<'_> {
    /// Checks `value` against the schema. The issue's path starts at the value.
    pub(super) fn check(&self, schema: SchemaId, value: &Ipld, depth: usize) -> Result<(), Issue> {
        if depth > MAX_DEPTH {
            return Err(Issue::new(format!("Value is nested too deep (maximum {MAX_DEPTH})")));
        }
        match self.0.get(schema.0 as usize) {
            Some(schema) => self.check_schema(schema, value, depth),
            // Ids are only made for schemas of the same arena.
            None => Err(Issue::new("Unknown schema".into())),
        }
    }

    fn check_schema(&self, schema: &Schema, value: &Ipld, depth: usize) -> Result<(), Issue> {
        match (schema, value) {
            (Schema::Null, Ipld::Null) | (Schema::Boolean, Ipld::Bool(_)) | (Schema::CidLink, Ipld::Link(_)) => Ok(()),
            (Schema::Integer(range), Ipld::Integer(integer))
                if integer.unsigned_abs() <= u128::from(MAX_INTEGER.unsigned_abs()) =>
            {
                check_integer(range, *integer)
            }
            (Schema::String(rule), Ipld::String(text)) => check_string(rule, text),
            (Schema::OneOf(literals), value) => check_one_of(literals, value),
            (Schema::Bytes(length), Ipld::Bytes(bytes)) => check_length(*length, "bytes", bytes.len()),
            (Schema::Blob(rule), value) => check_blob(rule, value),
            (Schema::Array { items, length }, Ipld::List(list)) => self.check_array(*items, *length, list, depth),
            (Schema::Object(rule), Ipld::Map(map)) => self.check_object(rule, map, depth),
            (Schema::Union(rule), value) => self.check_union(rule, value, depth),
            // A blob is a type of its own, though it looks like an object.
            (Schema::Unknown, Ipld::Map(map)) if !has_blob_type(map) => Ok(()),
            (Schema::Token(name), Ipld::String(text)) if **name == **text => Ok(()),
            (Schema::Token(name), Ipld::String(_)) => {
                Err(Issue::not_one_of(Some(value), std::iter::once(show_name(name))))
            }
            (schema, value) => Err(Issue::unexpected_type(value, type_name(schema))),
        }
    }

    fn check_array(&self, items: SchemaId, length: Bounds, list: &[Ipld], depth: usize) -> Result<(), Issue> {
        check_length(length, "array", list.len())?;
        for (index, item) in list.iter().enumerate() {
            self.check(items, item, depth + 1).map_err(|issue| issue.in_item(index))?;
        }
        Ok(())
    }

    /// Reference: a definition looks at `$type` before its properties, a record after them.
    fn check_object(&self, rule: &ObjectRule, map: &BTreeMap<String, Ipld>, depth: usize) -> Result<(), Issue> {
        if let (TypeRule::Optional(name), Some(found)) = (&rule.type_rule, map.get("$type")) {
            check_type(name, Some(found))?;
        }
        for property in &rule.properties {
            self.check_property(property, map.get(&*property.name), depth + 1)?;
        }
        match &rule.type_rule {
            TypeRule::Required(name) => check_type(name, map.get("$type")),
            TypeRule::Optional(_) | TypeRule::Any => Ok(()),
        }
    }

    fn check_property(&self, property: &Property, value: Option<&Ipld>, depth: usize) -> Result<(), Issue> {
        match value {
            None if property.required => Err(Issue::missing_key(&property.name)),
            None => Ok(()),
            Some(Ipld::Null) if property.nullable => Ok(()),
            Some(value) => self.check(property.schema, value, depth).map_err(|issue| issue.in_key(&property.name)),
        }
    }

    fn check_union(&self, rule: &UnionRule, value: &Ipld, depth: usize) -> Result<(), Issue> {
        let Ipld::Map(map) = value else {
            return Err(Issue::unexpected_type(value, TYPED));
        };
        let found = map.get("$type").ok_or_else(|| Issue::unexpected_type(value, TYPED))?;
        let member = if let Ipld::String(name) = found { rule.member(name) } else { None };
        match (member, found) {
            (Some(schema), _) => self.check(schema, value, depth),
            (None, _) if rule.closed => {
                let names = rule.members.iter().map(|(name, _)| show_name(name));
                Err(Issue::not_one_of(Some(found), names).in_key("$type"))
            }
            (None, Ipld::String(_)) => Ok(()),
            (None, _) => Err(Issue::unexpected_type(found, "string").in_key("$type")),
        }
    }
}

/// What a union takes, as messages name it.
const TYPED: &str = "an object which includes the \"$type\" property";

/// A schema's type as messages name it.
fn type_name(schema: &Schema) -> &'static str {
    match schema {
        Schema::Null => "null",
        Schema::Boolean => "boolean",
        Schema::Integer(_) => "integer",
        Schema::String(_) => "string",
        Schema::OneOf(_) => "literal",
        Schema::Bytes(_) => "bytes",
        Schema::CidLink => "cid",
        Schema::Blob(_) => "blob",
        Schema::Array { .. } => "array",
        Schema::Object(_) | Schema::Unknown => "object",
        Schema::Union(_) => TYPED,
        Schema::Token(_) => "token",
    }
}

fn check_integer(range: &std::ops::RangeInclusive<i64>, integer: i128) -> Result<(), Issue> {
    if integer < i128::from(*range.start()) {
        return Err(Issue::too_small("integer", range.start(), integer));
    }
    if integer > i128::from(*range.end()) {
        return Err(Issue::too_big("integer", range.end(), integer));
    }
    Ok(())
}

fn check_one_of(literals: &[Literal], value: &Ipld) -> Result<(), Issue> {
    let matches = |literal: &Literal| match (literal, value) {
        (Literal::Boolean(expected), Ipld::Bool(found)) => expected == found,
        (Literal::Integer(expected), Ipld::Integer(found)) => i128::from(*expected) == *found,
        (Literal::String(expected), Ipld::String(found)) => **expected == **found,
        _ => false,
    };
    if literals.iter().any(matches) {
        return Ok(());
    }
    Err(Issue::not_one_of(Some(value), literals.iter().map(show_literal)))
}

fn check_type(expected: &str, found: Option<&Ipld>) -> Result<(), Issue> {
    match found {
        Some(Ipld::String(name)) if name == expected => Ok(()),
        other => Err(Issue::not_one_of(other, std::iter::once(show_name(expected))).in_key("$type")),
    }
}

/// Checks a count against its bounds; `what` is counted, as messages name it.
pub(super) fn check_length(bounds: Bounds, what: &str, actual: usize) -> Result<(), Issue> {
    if actual < bounds.min {
        return Err(Issue::too_small(what, bounds.min, actual));
    }
    if actual > bounds.max {
        return Err(Issue::too_big(what, bounds.max, actual));
    }
    Ok(())
}
