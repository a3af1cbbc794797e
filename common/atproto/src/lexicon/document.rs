//! Lexicon documents as published: the shape serde reads, before anything is resolved.
//!
//! Source: atproto.com/specs/lexicon.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::format::Format;
use super::permission::PermissionSet;
use crate::syntax::Nsid;

/// One lexicon document: an NSID and the definitions published under it.
///
/// Reading one checks each field's type; that the definitions make sense together is checked by [`super::Catalog::compile`].
/// Unknown fields, prose among them, are skipped.
#[derive(Deserialize)]
pub struct Document {
    /// Version of the lexicon language; 1 is the only one.
    pub(super) lexicon: u8,
    pub(super) id: Nsid,
    pub(super) defs: Entries<Definition>,
}

impl Document {
    /// The document's name.
    pub fn id(&self) -> &Nsid {
        &self.id
    }
}

/// Anything with a `type`. Which types may stand where is for the compiler to say.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Definition {
    Null {},
    Boolean(BooleanDef),
    Integer(IntegerDef),
    String(StringDef),
    Bytes(LengthDef),
    CidLink {},
    Blob(BlobDef),
    Array(ArrayDef),
    Object(ObjectDef),
    Params(ObjectDef),
    Ref(RefDef),
    Union(UnionDef),
    Unknown {},
    Token {},
    Record(RecordDef),
    Query(MethodDef),
    Procedure(MethodDef),
    Subscription(MethodDef),
    PermissionSet(PermissionSet),
}

impl Definition {
    /// May stand under any name of a document.
    pub(super) fn may_be_named(&self) -> bool {
        !self.is_primary() && !matches!(self, Self::Params(_) | Self::Ref(_) | Self::Union(_) | Self::Unknown {})
    }

    /// May stand under the name `main` only.
    pub(super) fn is_primary(&self) -> bool {
        matches!(
            self,
            Self::Record(_) | Self::Query(_) | Self::Procedure(_) | Self::Subscription(_) | Self::PermissionSet(_)
        )
    }

    /// May be a method's parameter, or the item of one that is an array.
    pub(super) fn is_parameter(&self) -> bool {
        matches!(self, Self::Boolean(_) | Self::Integer(_) | Self::String(_) | Self::Unknown {})
    }

    /// The `type` in the document.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null {} => "null",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::CidLink {} => "cid-link",
            Self::Blob(_) => "blob",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Params(_) => "params",
            Self::Ref(_) => "ref",
            Self::Union(_) => "union",
            Self::Unknown {} => "unknown",
            Self::Token {} => "token",
            Self::Record(_) => "record",
            Self::Query(_) => "query",
            Self::Procedure(_) => "procedure",
            Self::Subscription(_) => "subscription",
            Self::PermissionSet(_) => "permission-set",
        }
    }
}

#[derive(Deserialize)]
pub(super) struct BooleanDef {
    pub(super) r#const: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct IntegerDef {
    pub(super) minimum: Option<i64>,
    pub(super) maximum: Option<i64>,
    pub(super) r#enum: Option<Vec<i64>>,
    pub(super) r#const: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StringDef {
    pub(super) format: Option<Format>,
    /// In bytes of UTF-8.
    #[serde(flatten)]
    pub(super) length: LengthDef,
    pub(super) min_graphemes: Option<usize>,
    pub(super) max_graphemes: Option<usize>,
    pub(super) r#enum: Option<Vec<Box<str>>>,
    pub(super) r#const: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LengthDef {
    pub(super) min_length: Option<usize>,
    pub(super) max_length: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlobDef {
    pub(super) accept: Option<Vec<Box<str>>>,
    pub(super) max_size: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct ArrayDef {
    pub(super) items: Box<Definition>,
    #[serde(flatten)]
    pub(super) length: LengthDef,
}

/// An object, or a method's parameters.
#[derive(Deserialize)]
pub(super) struct ObjectDef {
    /// Optional in practice: the reference's own documents omit it for objects without properties.
    #[serde(default)]
    pub(super) properties: Entries<Definition>,
    #[serde(default)]
    pub(super) required: Vec<Box<str>>,
    #[serde(default)]
    pub(super) nullable: Vec<Box<str>>,
}

#[derive(Deserialize)]
pub(super) struct RefDef {
    pub(super) r#ref: Box<str>,
}

#[derive(Deserialize)]
pub(super) struct UnionDef {
    pub(super) refs: Vec<Box<str>>,
    #[serde(default)]
    pub(super) closed: bool,
}

#[derive(Deserialize)]
pub(super) struct RecordDef {
    pub(super) key: Box<str>,
    pub(super) record: Box<Definition>,
}

/// A query, procedure or subscription; each has only some of these.
#[derive(Deserialize)]
pub(super) struct MethodDef {
    pub(super) parameters: Option<Box<Definition>>,
    pub(super) input: Option<BodyDef>,
    pub(super) output: Option<BodyDef>,
    pub(super) message: Option<MessageDef>,
    #[serde(default)]
    pub(super) errors: Vec<ErrorDef>,
}

#[derive(Deserialize)]
pub(super) struct BodyDef {
    pub(super) encoding: Box<str>,
    pub(super) schema: Option<Box<Definition>>,
}

#[derive(Deserialize)]
pub(super) struct MessageDef {
    pub(super) schema: Option<Box<Definition>>,
}

#[derive(Deserialize)]
pub(super) struct ErrorDef {
    pub(super) name: Box<str>,
}

/// A JSON object in the order it was written: it is the order in which the properties of a value are checked, and so
/// decides which of several faults is reported. A name given twice is refused.
pub(super) struct Entries<T>(pub(super) Vec<(Box<str>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(Box<str>, T)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some((name, value)) = map.next_entry::<Box<str>, T>()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("duplicate name {name:?}")));
            }
            entries.push((name, value));
        }
        Ok(Entries(entries))
    }
}
