//! Compiled schemas: what the validator walks. References are indices, and nothing is looked up by name but union members.

use std::ops::RangeInclusive;

use super::format::Format;

/// Place of a schema in its catalog's arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SchemaId(pub(super) u32);

#[derive(Debug)]
pub(super) enum Schema {
    Null,
    Boolean,
    Integer(RangeInclusive<i64>),
    String(StringRule),
    /// A boolean, integer or string with a `const` or an `enum`. Never empty.
    OneOf(Box<[Literal]>),
    Bytes(Bounds),
    CidLink,
    Blob(BlobRule),
    Array {
        items: SchemaId,
        length: Bounds,
    },
    Object(ObjectRule),
    Union(UnionRule),
    Unknown,
    /// The token's name is its only value.
    Token(Box<str>),
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Literal {
    Boolean(bool),
    Integer(i64),
    String(Box<str>),
}

#[derive(Debug)]
pub(super) struct StringRule {
    /// In bytes of UTF-8.
    pub(super) length: Bounds,
    /// In extended grapheme clusters.
    pub(super) graphemes: Bounds,
    pub(super) format: Option<Format>,
}

#[derive(Debug)]
pub(super) struct BlobRule {
    /// Media types, some as `image/*` or `*/*`; `None` takes any.
    pub(super) accept: Option<Box<[Box<str>]>>,
    /// In bytes.
    pub(super) max_size: Option<u64>,
}

#[derive(Debug)]
pub(super) struct ObjectRule {
    pub(super) type_rule: TypeRule,
    /// In the document's order.
    pub(super) properties: Box<[Property]>,
}

/// What an object's `$type` may be.
#[derive(Debug)]
pub(super) enum TypeRule {
    /// Anything: an object that stands inside another definition has no name.
    Any,
    /// This name, or absent: a definition of type object.
    Optional(Box<str>),
    /// This name: a record.
    Required(Box<str>),
}

#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: Box<str>,
    pub(super) schema: SchemaId,
    pub(super) required: bool,
    pub(super) nullable: bool,
}

#[derive(Debug)]
pub(super) struct UnionRule {
    /// By `$type`, sorted. All are objects.
    pub(super) members: Box<[(Box<str>, SchemaId)]>,
    /// Refuses a `$type` that is no member.
    pub(super) closed: bool,
}

impl UnionRule {
    pub(super) fn member(&self, type_name: &str) -> Option<SchemaId> {
        let index = self.members.binary_search_by(|(name, _)| (**name).cmp(type_name)).ok()?;
        Some(self.members[index].1)
    }
}

/// Smallest and largest permitted count, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Bounds {
    pub(super) fn new(min: Option<usize>, max: Option<usize>) -> Self {
        Self { min: min.unwrap_or(0), max: max.unwrap_or(usize::MAX) }
    }
}
