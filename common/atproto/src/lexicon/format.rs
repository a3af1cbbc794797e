//! Formats of strings.

use serde::Deserialize;

use crate::syntax::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, is_cid, is_uri};

/// What a string's text must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Format {
    AtIdentifier,
    AtUri,
    Cid,
    Datetime,
    Did,
    Handle,
    Language,
    Nsid,
    RecordKey,
    Tid,
    Uri,
}

impl Format {
    pub(super) fn matches(self, text: &str) -> bool {
        match self {
            Self::AtIdentifier => AtIdentifier::is_valid(text),
            Self::AtUri => AtUri::is_valid(text),
            Self::Cid => is_cid(text),
            Self::Datetime => Datetime::is_valid(text),
            Self::Did => Did::is_valid(text),
            Self::Handle => Handle::is_valid(text),
            Self::Language => Language::is_valid(text),
            Self::Nsid => Nsid::is_valid(text),
            Self::RecordKey => RecordKey::is_valid(text),
            Self::Tid => Tid::is_valid(text),
            Self::Uri => is_uri(text),
        }
    }

    /// The format's name in messages to clients. Reference: some differ from the lexicon's own names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AtIdentifier => "AT identifier",
            Self::AtUri => "at-uri",
            Self::Cid => "CID string",
            Self::Datetime => "datetime",
            Self::Did => "DID",
            Self::Handle => "handle",
            Self::Language => "language",
            Self::Nsid => "NSID",
            Self::RecordKey => "record key",
            Self::Tid => "TID string",
            Self::Uri => "uri",
        }
    }
}
