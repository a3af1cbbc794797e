//! What one process cannot show: replicas, real sockets, whole stories; and the rules of the tree.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the failure that is wanted")]

mod architecture;
mod bench;
mod blobs;
mod chaos;
mod harness;
mod ops;
mod scale;
mod worker;
mod xrpc;
