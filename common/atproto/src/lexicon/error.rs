//! Why a value is not valid, and why documents do not compile.

use super::issue::Issue;
use crate::syntax::Nsid;

/// Why a value is not what its lexicon asks for. `Display` is the message for the client.
///
/// Reference: the prefixes are those of the reference server's write methods.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValidationError {
    /// The catalog has no record type or method of this name.
    #[error("Unknown lexicon type: {0}")]
    UnknownType(Nsid),
    /// The record's key is not of the kind its collection asks for.
    #[error("Invalid record key for {collection}: {issue}")]
    RecordKey {
        /// The record's collection.
        collection: Nsid,
        /// What is wrong with the key.
        issue: Issue,
    },
    /// The record does not match its schema.
    #[error("Invalid {collection} record: {issue}")]
    Record {
        /// The record's collection.
        collection: Nsid,
        /// What is wrong, and where.
        issue: Issue,
    },
    /// A method's parameters, input, output or message does not match its schema.
    #[error("Invalid {method} {part}: {issue}")]
    Method {
        /// The method.
        method: Nsid,
        /// Which part of it.
        part: super::MethodPart,
        /// What is wrong, and where.
        issue: Issue,
    },
}

impl ValidationError {
    /// The same error for a record that is the write with this index in a batch: its path then begins with
    /// `$.writes[index].record`.
    #[must_use]
    pub fn in_write(self, index: usize) -> Self {
        match self {
            Self::Record { collection, issue } => {
                Self::Record { collection, issue: issue.in_item(index).in_key("writes") }
            }
            other => other,
        }
    }
}

/// Why documents do not make a catalog.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("lexicon {document}: {fault}")]
pub struct CompileError {
    /// The document at fault.
    pub document: Nsid,
    /// What is wrong with it.
    pub fault: CompileFault,
}

/// What is wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompileFault {
    /// Another version of the lexicon language than 1.
    #[error("version {0} of the lexicon language is not known")]
    Version(u8),
    /// Two documents have this name.
    #[error("is defined twice")]
    Duplicate,
    /// A type of definition that may not stand at this place.
    #[error("a {kind} cannot stand at {place}")]
    Misplaced {
        /// The definition's type.
        kind: &'static str,
        /// The definition, or the part of one.
        place: String,
    },
    /// A reference to a definition that none of the documents has.
    #[error("the reference {0:?} leads nowhere")]
    UnresolvedRef(String),
    /// A union with a member that has no `$type`.
    #[error("the union member {0:?} is neither an object nor a record")]
    UnionMember(String),
    /// `required` or `nullable` names a property that does not exist.
    #[error("the property {0:?} is required or nullable but not defined")]
    UndefinedProperty(String),
    /// A record key type other than `tid`, `nsid`, `any` and `literal:<record key>`.
    #[error("the record key type {0:?} is not known")]
    RecordKey(String),
    /// A body encoding that is not one bare media type.
    #[error("the encoding {0:?} is not a media type")]
    Encoding(String),
    /// An empty `enum`, a `const` outside its `enum`, or a closed union without members.
    #[error("no value could be valid at {0}")]
    Unsatisfiable(String),
    /// More definitions than an index can count.
    #[error("there are too many definitions")]
    TooMany,
}
