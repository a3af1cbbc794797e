//! The HTTP server of Rookery: [`Pds`] is one replica of it.
//!
//! `xrpc` is the method tree, `http` everything around it. State lives in `common`; nothing here survives the process.

pub mod auth;
pub mod firehose;
pub mod http;
pub mod limit;
mod pds;
mod state;
#[cfg(test)]
mod testing;
pub mod xrpc;

pub use pds::{Overrides, Pds, StartError};
pub use state::AppState;
