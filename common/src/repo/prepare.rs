//! Writes on their way into a repo: checked, encoded, and independent of the repo's state.

use std::fmt;

use atproto::data::{self, BlobRef, Cid, Ipld, RecordBlob};
use atproto::lexicon::{Catalog, ValidationError};
use atproto::syntax::{AtUri, Did, Nsid, RecordKey};
use bytes::Bytes;

/// Where a record lives in its repo.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecordPath {
    /// The collection, which is also the record's type.
    pub collection: Nsid,
    /// The key in it.
    pub rkey: RecordKey,
}

impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.rkey)
    }
}

/// How a record fared with the schemas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValidationStatus {
    /// It fits its schema.
    Valid,
    /// There is no schema for it here.
    Unknown,
}

impl ValidationStatus {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a record cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The value is not an object.
    #[error("Record must be an object")]
    NotAnObject,
    /// `$type` is there but names another type.
    #[error("Invalid $type: expected {expected}, got {got}")]
    WrongType {
        /// The collection.
        expected: Nsid,
        /// What the record says.
        got: String,
    },
    /// `validate` asked for a check, and there is no schema to check with.
    #[error("Unknown lexicon type: {0}")]
    UnknownLexicon(Nsid),
    /// The record breaks its schema.
    #[error("{0}")]
    Invalid(#[from] ValidationError),
    /// A blob reference in the form that was given up in 2023.
    #[error("Legacy blobs are not allowed")]
    LegacyBlob,
    /// The value has no DAG-CBOR form.
    #[error("Record cannot be encoded: {0}")]
    Encoding(#[from] data::cbor::CborError),
}

/// A record's encoded value and what the repo must know of it.
#[derive(Clone, Debug)]
pub struct PreparedRecord {
    /// CID of the value.
    pub cid: Cid,
    /// DAG-CBOR.
    pub value: Bytes,
    /// The account or record it points at, if it is a follow, block, like or repost.
    pub(super) target: Option<String>,
    /// The blobs it refers to, and what it says of them; the same reference once.
    pub(super) blobs: Vec<BlobRef>,
    /// What the schemas say; `None` if they were not asked.
    pub validation: Option<ValidationStatus>,
}

impl PreparedRecord {
    /// Checks and encodes a value for `path`, adding `$type` if it has none.
    ///
    /// `validate`: `Some(true)` demands a known schema, `Some(false)` skips the check, `None` checks what is known.
    ///
    /// Source: com.atproto.repo.createRecord, `validate`.
    pub fn new(path: &RecordPath, mut value: Ipld, validate: Option<bool>) -> Result<Self, RecordError> {
        set_type(&mut value, &path.collection)?;
        let validation = check_schema(path, &value, validate)?;
        let blobs = referenced_blobs(&value)?;
        let target = link_target(&path.collection, &value);
        let value = Bytes::from(data::cbor::encode(&value)?);
        Ok(Self { cid: Cid::dag_cbor(&value), value, target, blobs, validation })
    }

    /// The blobs it refers to, each once.
    pub(super) fn blob_cids(&self) -> Vec<Cid> {
        let mut cids = Vec::with_capacity(self.blobs.len());
        for blob in &self.blobs {
            if !cids.contains(&blob.cid) {
                cids.push(blob.cid);
            }
        }
        cids
    }
}

fn set_type(value: &mut Ipld, collection: &Nsid) -> Result<(), RecordError> {
    let Ipld::Map(fields) = value else { return Err(RecordError::NotAnObject) };
    let found = fields.entry("$type".to_owned()).or_insert_with(|| Ipld::String(collection.to_string()));
    match found {
        Ipld::String(found) if found == collection.as_str() => Ok(()),
        Ipld::String(found) => Err(RecordError::WrongType { expected: collection.clone(), got: found.clone() }),
        // As the reference prints a value that is not text.
        _ => Err(RecordError::WrongType { expected: collection.clone(), got: "[object Object]".to_owned() }),
    }
}

fn check_schema(
    path: &RecordPath,
    value: &Ipld,
    validate: Option<bool>,
) -> Result<Option<ValidationStatus>, RecordError> {
    let catalog = Catalog::builtin();
    match validate {
        Some(false) => Ok(None),
        Some(true) if !catalog.is_record(&path.collection) => Err(RecordError::UnknownLexicon(path.collection.clone())),
        None if !catalog.is_record(&path.collection) => Ok(Some(ValidationStatus::Unknown)),
        Some(true) | None => {
            catalog.validate_record(&path.collection, &path.rkey, value)?;
            Ok(Some(ValidationStatus::Valid))
        }
    }
}

/// The blobs that a new record refers to, the same reference once. Whether its account has them, the commit finds out.
fn referenced_blobs(value: &Ipld) -> Result<Vec<BlobRef>, RecordError> {
    let mut blobs = Vec::new();
    for blob in data::find_blobs(value) {
        match blob {
            RecordBlob::Legacy(_) => return Err(RecordError::LegacyBlob),
            RecordBlob::Typed(blob) if blobs.contains(&blob) => {}
            RecordBlob::Typed(blob) => blobs.push(blob),
        }
    }
    Ok(blobs)
}

/// True for the collections whose records point at one account or record.
pub(super) fn is_link(collection: &Nsid) -> bool {
    matches!(
        collection.as_str(),
        "app.bsky.graph.follow" | "app.bsky.graph.block" | "app.bsky.feed.like" | "app.bsky.feed.repost"
    )
}

/// What a record of one of the four linking collections points at; only well-formed targets count.
pub(super) fn link_target(collection: &Nsid, value: &Ipld) -> Option<String> {
    let text = |value: &Ipld| match value {
        Ipld::String(text) => Some(text.clone()),
        _ => None,
    };
    let Ipld::Map(fields) = value else { return None };
    let subject = fields.get("subject")?;
    match collection.as_str() {
        "app.bsky.graph.follow" | "app.bsky.graph.block" => text(subject).filter(|did| did.parse::<Did>().is_ok()),
        "app.bsky.feed.like" | "app.bsky.feed.repost" => match subject {
            Ipld::Map(subject) => text(subject.get("uri")?).filter(|uri| uri.parse::<AtUri>().is_ok()),
            _ => None,
        },
        _ => None,
    }
}

/// What the client demands of the record it replaces or removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SwapRecord {
    /// Nothing.
    #[default]
    Any,
    /// That there is none.
    Absent,
    /// That it is this one.
    At(Cid),
}

/// One write, ready to be applied to whatever state the repo is in.
#[derive(Clone, Debug)]
pub enum PreparedWrite {
    /// Writes a record that must not exist.
    Create {
        /// Where.
        path: RecordPath,
        /// What.
        record: PreparedRecord,
        /// Also deletes earlier records of the collection that point at the same target, in the same commit.
        replace_links: bool,
    },
    /// Writes a record that must exist.
    Update {
        /// Where.
        path: RecordPath,
        /// What.
        record: PreparedRecord,
    },
    /// Writes a record whether it exists or not; the same value again is no write at all.
    Put {
        /// Where.
        path: RecordPath,
        /// What.
        record: PreparedRecord,
        /// What must be there before.
        swap: SwapRecord,
    },
    /// Deletes a record that must exist.
    Delete {
        /// Where.
        path: RecordPath,
    },
    /// Deletes a record if it exists.
    Remove {
        /// Where.
        path: RecordPath,
        /// What must be there before.
        swap: SwapRecord,
    },
}

impl PreparedWrite {
    /// Where the record is.
    pub fn path(&self) -> &RecordPath {
        match self {
            Self::Create { path, .. }
            | Self::Update { path, .. }
            | Self::Put { path, .. }
            | Self::Delete { path }
            | Self::Remove { path, .. } => path,
        }
    }

    /// True if the write may come to nothing.
    pub(super) fn is_optional(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Remove { .. })
    }

    /// The record, unless it is a deletion.
    pub fn record(&self) -> Option<&PreparedRecord> {
        match self {
            Self::Create { record, .. } | Self::Update { record, .. } | Self::Put { record, .. } => Some(record),
            Self::Delete { .. } | Self::Remove { .. } => None,
        }
    }
}
