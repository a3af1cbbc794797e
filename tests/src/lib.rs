//! The servers that Rookery needs around it, started privately: for development (`make run`) and for tests.
//!
//! Everything is a child of the calling process, listens on a free port of the loopback interface, keeps its files in a
//! folder of its own and is gone when the caller is gone. A database that is already running is never touched.

pub mod archive;
pub mod stack;
