//! Identity: which DID a handle stands for, what a DID's document says, and which handles this server gives away.
//!
//! Table: `did_cache`.

mod handle_rules;
mod reserved;

pub use handle_rules::{HandleRefusal, HandleRules};
