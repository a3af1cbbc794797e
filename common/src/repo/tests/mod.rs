//! Repositories against a real Postgres: what two replicas, broken connections and random writes must not break.

mod batches;
mod chains;
mod heads;
mod rebuild;
mod rules;
mod stage;
mod store;
mod two_replicas;
mod verify;
