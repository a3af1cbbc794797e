//! Record types: the schema of a collection's records and of their keys.

use super::issue::{Issue, show_name};
use super::schema::SchemaId;
use crate::data::Ipld;
use crate::syntax::{Nsid, RecordKey, Tid};

/// A record type, compiled.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: RecordKeyRule,
    pub(super) schema: SchemaId,
}

/// What the keys of a collection's records must be, beyond being record keys.
#[derive(Debug)]
pub(super) enum RecordKeyRule {
    Any,
    Nsid,
    Tid,
    /// The only key there may be: `self` nearly always.
    Literal(Box<str>),
}

impl RecordKeyRule {
    pub(super) fn check(&self, key: &RecordKey) -> Result<(), Issue> {
        let key = key.as_str();
        match self {
            Self::Any => Ok(()),
            Self::Nsid if Nsid::is_valid(key) => Ok(()),
            Self::Nsid => Err(Issue::bad_format(key, super::format::Format::Nsid.name())),
            Self::Tid if Tid::is_valid(key) => Ok(()),
            Self::Tid => Err(Issue::bad_format(key, super::format::Format::Tid.name())),
            Self::Literal(literal) if **literal == *key => Ok(()),
            Self::Literal(literal) => {
                Err(Issue::not_one_of(Some(&Ipld::String(key.into())), std::iter::once(show_name(literal))))
            }
        }
    }
}
