//! Compiles the constraints of values that hold no other values.

use super::document::{BlobDef, IntegerDef, LengthDef, StringDef};
use super::error::CompileFault;
use super::schema::{BlobRule, Bounds, Literal, Schema, StringRule};

pub(super) fn compile_integer(integer: &IntegerDef, place: &str) -> Result<Schema, CompileFault> {
    let range = integer.minimum.unwrap_or(i64::MIN)..=integer.maximum.unwrap_or(i64::MAX);
    match one_of(integer.r#const.as_ref(), integer.r#enum.as_deref(), place)? {
        Some(values) => Ok(Schema::OneOf(values.iter().copied().map(Literal::Integer).collect())),
        None => Ok(Schema::Integer(range)),
    }
}

pub(super) fn compile_string(string: &StringDef, place: &str) -> Result<Schema, CompileFault> {
    match one_of(string.r#const.as_ref(), string.r#enum.as_deref(), place)? {
        Some(values) => Ok(Schema::OneOf(values.iter().cloned().map(Literal::String).collect())),
        None => Ok(Schema::String(StringRule {
            length: compile_length(&string.length),
            graphemes: Bounds::new(string.min_graphemes, string.max_graphemes),
            format: string.format,
        })),
    }
}

/// The values that `const` and `enum` leave, if there is either.
///
/// Reference: they replace a range, length or format beside them, which their values are expected to keep to.
fn one_of<'a, T: PartialEq>(
    constant: Option<&'a T>,
    choices: Option<&'a [T]>,
    place: &str,
) -> Result<Option<&'a [T]>, CompileFault> {
    match (constant, choices) {
        (None, None) => Ok(None),
        (Some(value), None) => Ok(Some(std::slice::from_ref(value))),
        (Some(value), Some(choices)) if choices.contains(value) => Ok(Some(std::slice::from_ref(value))),
        (None, Some(choices)) if !choices.is_empty() => Ok(Some(choices)),
        _ => Err(CompileFault::Unsatisfiable(place.into())),
    }
}

pub(super) fn compile_length(length: &LengthDef) -> Bounds {
    Bounds::new(length.min_length, length.max_length)
}

pub(super) fn compile_blob(blob: &BlobDef) -> BlobRule {
    BlobRule { accept: blob.accept.as_deref().map(Box::from), max_size: blob.max_size }
}
