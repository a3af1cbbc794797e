//! What tests stand on: a Postgres database of their own. Feature `testing`; no program is built with it.

#![expect(clippy::expect_used, reason = "a test ends where its surroundings fail")]

mod archive;
pub mod blobs;
pub mod damage;
mod database;
mod executor;
mod kms;
mod lease;
pub mod log;
mod name_server;
mod plc;
mod redis;
mod relay;
pub mod relays;
mod s3;
pub mod seed;
mod soundness;
mod tap;
pub mod traces;

pub use archive::{RepoArchive, to_car};
pub use database::{HeldTable, TestDb};
pub use kms::FakeKms;
pub use lease::{claimed_imports, end_claims, finished_at, lapse_imports, lapse_lease, lapse_leases, live_workers};
pub use name_server::NameServer;
pub use plc::FakePlc;
pub use redis::redis_config;
pub use relay::{FakeRelay, Manners};
pub use s3::{FakeS3, S3Fault};
pub use soundness::{assert_repo_is_sound, assert_stream_is_sound};
pub use tap::{Fault, Tap};
