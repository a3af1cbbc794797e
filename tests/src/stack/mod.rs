//! The pieces of the stack, each startable on its own, and all of it.

mod cluster;
mod data;
mod mail;
mod plc;
mod port;
mod postgres;
mod process;
mod programs;
mod redis;
mod secret;

pub use cluster::{Endpoints, Options, Stack};
pub use data::DataFolder;
pub use mail::{Arrivals, Encryption, Fault, MailCatcher, Manners, Mishap, Received};
pub use plc::PlcDirectory;
pub use port::free as free_ports;
pub use postgres::{Durability, Postgres};
pub use process::{Launch, Server};
pub use programs::{Programs, Settings};
pub use redis::Redis;
