//! What the tests share: replicas, clients, consumers, and a check of exported repos.

pub(crate) mod account;
pub(crate) mod archive;
pub(crate) mod blob_cluster;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod consumer;
pub(crate) mod moderator;
pub(crate) mod operator;
pub(crate) mod processes;
pub(crate) mod progress;
pub(crate) mod tap;
