//! `internal.*`: methods of our own. The top-level domain `.internal` is reserved for private use, so nobody else can
//! publish methods of these names.
//!
//! Their lexicons are in `common/atproto/lexicons/rookery.jsonl`.

pub mod rookery;
