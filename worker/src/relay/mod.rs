//! Relays, as a worker and the commands deal with them: telling them that there is something to read, asking what they know
//! of this server, and showing that.
//!
//! Relays are named by the operator, who may have them on addresses of his own network; so they are called by the client
//! for such services. It follows no redirect, so a relay can send it nowhere else. Answers have a bounded size and time, and
//! of what they say only numbers, known words, and short texts without control characters go on.

mod check;
mod client;
mod metrics;
#[cfg(test)]
mod tests;

pub use check::{Checker, Plan, SECOND_LOOK, Whose};
pub use client::{Host, Limits, Refusal, RelayClient, Repo};
pub use metrics::write as write_metrics;
