//! `com.*`.

pub mod atproto;
