//! What tests stand on: a Postgres database of their own. Feature `testing`; no program is built with it.

#![expect(clippy::expect_used, reason = "a test ends where its surroundings fail")]

mod database;
pub mod log;
mod plc;
pub mod seed;

pub use database::TestDb;
pub use plc::FakePlc;
