//! The data model: CIDs, values, and their DAG-CBOR and JSON forms.
//!
//! Source: atproto.com/specs/data-model.

mod cid;

pub use cid::{CID_LEN, Cid, CidError, Codec};
