//! How often a client may ask for something.
//!
//! `table` has every limit. Before each method stands a `gate`, which charges a request to all limits it falls under, in one
//! question to Redis (see [`common::rate_limit`]): at once, if these count by the client's address only; else as soon as the
//! session, or the input, says who is calling, and before a password is hashed, a record written or a body streamed. Whatever
//! becomes of a request, it is charged once; also if its client drops it.
//!
//! # Names that strangers know
//!
//! Passwords are guessed from many addresses, so there are limits of a name from wherever. Alone they would let strangers keep
//! an owner out: they need only use them up. So they do not count for who comes from where the account was signed in to
//! lately (see [`common::session`]), which is looked up only when they are used up; all others count for them, too.

mod admission;
mod answer;
mod bill;
mod exempt;
mod gate;
mod table;
#[cfg(test)]
mod tests;

pub use admission::{Admission, PasswordTry, UsedUp};
pub(crate) use admission::{charge_address, charge_caller};
pub(crate) use gate::Gate;
pub use gate::{Limits, UnknownLimits};
