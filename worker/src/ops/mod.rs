//! The operator's commands.

mod migrate;

pub use migrate::migrate;
