//! The data model: CIDs, values, and their DAG-CBOR and JSON forms.
//!
//! [`Ipld`] is the one dynamic value. It can hold more than the protocol allows (floats, foreign links, any depth), so
//! every door in and out checks it: [`cbor::decode`], [`cbor::encode`], [`json::from_json`].
//!
//! Source: atproto.com/specs/data-model.

pub mod cbor;
pub mod json;

mod blob;
mod cid;
mod strict;
mod transcode;
mod value;

pub use blob::{BlobRef, LegacyBlobRef, RecordBlob, find_blobs};
pub use cid::{CID_LEN, Cid, CidError, Codec};
pub use ipld_core::ipld::Ipld;
pub use strict::{StrictError, check_strict};
pub use transcode::CborAsJson;
pub use value::{MAX_DEPTH, MAX_INTEGER, ValueError, check, record_type};
