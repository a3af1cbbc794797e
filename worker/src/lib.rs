//! What runs beside the servers: background work, and the operator's commands.

pub mod jobs;
pub mod mail;
pub mod ops;
pub mod plain;
pub mod relay;
pub mod runner;
pub mod services;
