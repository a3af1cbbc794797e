//! The state that `pds-api` and `pds-worker` share: settings, Postgres, and one module per subject.
//!
//! Modules form ranks; a module uses lower ranks only.
//! * Rank 0: [`clock`], [`config`], [`db`], [`http`], [`telemetry`].
//! * Rank 1: [`audit`], [`identity`], [`jobs`], [`keys`].
//! * Rank 2: [`account`], [`blob`], [`preference`], [`rate_limit`], [`report`], [`sequencer`], [`session`].
//! * Rank 3: [`relay`], [`repo`].
//! * Rank 4: [`lifecycle`].
//! * Rank 5: [`admin`].

pub mod account;
pub mod admin;
pub mod audit;
pub mod blob;
pub mod clock;
pub mod config;
pub mod db;
pub mod http;
pub mod identity;
pub mod jobs;
pub mod keys;
pub mod lifecycle;
pub mod preference;
pub mod rate_limit;
pub mod relay;
pub mod repo;
pub mod report;
pub mod sequencer;
pub mod session;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
