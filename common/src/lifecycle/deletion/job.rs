//! What deletions ask of the worker.

use serde::{Deserialize, Serialize};

use crate::jobs::{Job, Policy};

/// Removes what is left of deleted accounts: of all of them, so one job that waits stands for all, and of its one key only
/// one runs at a time: no two read the log for the same. `account_delete_v3` enqueues it, with an empty key. What it leaves,
/// should it fail, a schedule finds within a minute, which enqueues another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PurgeDeleted {}

impl Job for PurgeDeleted {
    const KIND: &'static str = "purge_deleted";
    const POLICY: Policy = Policy::STANDARD;

    fn dedupe_key(&self) -> Option<String> {
        Some(String::new())
    }
}
