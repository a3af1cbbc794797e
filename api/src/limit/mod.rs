//! How often a client may ask for something.
//!
//! `table` has every limit. Before each method stands a `gate`, which charges a request to all limits it falls under, in one
//! question to Redis (see [`common::rate_limit`]): at once, if these count by the client's address only; else as soon as the
//! session, or the input, says who is calling, and before a password is hashed, a record written or a body streamed. Whatever
//! becomes of a request, it is charged once.

mod admission;
mod answer;
mod exempt;
mod gate;
mod table;
#[cfg(test)]
mod tests;

pub use admission::Admission;
pub(crate) use admission::charge_caller;
pub(crate) use gate::Gate;
pub use gate::{Limits, UnknownLimits};
