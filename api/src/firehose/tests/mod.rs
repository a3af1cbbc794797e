//! The stream over real sockets, on a log that the tests write themselves.

mod faults;
mod join;
mod stage;
