//! The AT Protocol without I/O.
//!
//! Pure and synchronous: nothing here opens a socket, asks the clock or reads the environment. Blocks come in through
//! [`mst::BlockSource`], time and randomness as parameters.

pub mod car;
pub mod crypto;
pub mod data;
pub mod identity;
pub mod lexicon;
pub mod mst;
pub mod syntax;

#[cfg_attr(not(test), expect(dead_code, reason = "commits and events, which come next, use the rest"))]
mod wire;

pub use wire::WireError;
