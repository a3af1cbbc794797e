//! The pieces of the stack, each startable on its own.

mod port;
mod postgres;
mod process;
mod redis;
mod secret;

pub use postgres::{Durability, Postgres};
pub use process::{Launch, Server};
pub use redis::Redis;
