//! The AT Protocol without I/O.
//!
//! Pure and synchronous: nothing here opens a socket, asks the clock or reads the environment. Blocks come in through
//! [`mst::BlockSource`], time and randomness as parameters.

pub mod car;
pub mod commit;
pub mod crypto;
pub mod data;
pub mod event;
pub mod identity;
pub mod lexicon;
pub mod mst;
pub mod syntax;

mod wire;

pub use wire::WireError;
