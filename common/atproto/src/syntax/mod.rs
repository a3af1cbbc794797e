//! Identifiers and other formatted strings: each is parsed once, at the edge, and is then a type of its own.
//!
//! Every type has `FromStr`, `Display`, serde as text, an order and a hash, and a cheap `is_valid` that allocates nothing,
//! for callers that only want to know (the lexicon validator). There is no other way to build one than its parser.
//!
//! Source: the pages of atproto.com/specs named at each type.

mod at_identifier;
mod at_uri;
mod datetime;
mod did;
mod domain;
mod format;
mod handle;
mod language;
mod nsid;
mod record_key;
mod text;
mod tid;

pub use at_identifier::{AtIdentifier, AtIdentifierError};
pub use at_uri::{AtUri, AtUriError};
pub use datetime::{Datetime, DatetimeError};
pub use did::{Did, DidError};
pub use format::{is_cid, is_uri};
pub use handle::{Handle, HandleError};
pub use language::{Language, LanguageError};
pub use nsid::{Nsid, NsidError};
pub use record_key::{RecordKey, RecordKeyError};
pub(crate) use text::deserialize_text;
pub use tid::{Tid, TidClock, TidError};
