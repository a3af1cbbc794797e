//! What this replica remembers of repo heads. It only saves work: the commit function alone decides.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::store::Head;
use crate::db::AccountId;

/// Heads to remember, some 100 bytes each.
const HEADS: usize = 100_000;

#[derive(Clone)]
pub(super) struct Heads(Arc<Cache<AccountId, Head>>);

impl Heads {
    pub(super) fn new() -> Self {
        Self(Arc::new(Cache::new(HEADS)))
    }

    pub(super) fn get(&self, account: AccountId) -> Option<Head> {
        self.0.get(&account)
    }

    pub(super) fn insert(&self, account: AccountId, head: Head) {
        self.0.insert(account, head);
    }

    pub(super) fn forget(&self, account: AccountId) {
        self.0.remove(&account);
    }
}
