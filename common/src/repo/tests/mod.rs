//! Repositories against a real Postgres: what two replicas, broken connections and random writes must not break.

mod batches;
mod blobs;
mod chains;
mod concurrent;
mod exports;
mod heads;
mod imports;
mod model;
mod planner;
mod rebuild;
mod rules;
mod scans;
mod stage;
mod store;
mod two_replicas;
mod verify;
