//! Identity: which DID a handle stands for, what a DID's document says, and which handles this server gives away.
//!
//! Table: `did_cache`.

mod did_resolver;
mod handle_dns;
mod handle_resolver;
mod handle_rules;
mod metrics;
mod plc;
mod reserved;
mod store;

pub use did_resolver::{DidResolver, ResolveError};
pub use handle_resolver::HandleResolver;
pub use handle_rules::{HandleRefusal, HandleRules};
pub use metrics::expose;
pub use plc::{PlcClient, PlcError};
pub use store::delete_document as forget_document;
