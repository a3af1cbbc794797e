//! What this replica remembers of repo heads, and the turns its writers take. Both only save work: the commit function
//! alone decides.

use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::sync::{Mutex, MutexGuard};

use super::store::Head;
use crate::db::AccountId;

/// Heads to remember, some 100 bytes each.
const HEADS: usize = 100_000;
/// Turnstiles. Repos that share one wait for each other, so there are many more than writers at a time.
const TURNSTILES: usize = 4096;

#[derive(Clone)]
pub(super) struct Heads {
    heads: Arc<Cache<AccountId, Head>>,
    turnstiles: Arc<[Mutex<()>]>,
}

impl Heads {
    pub(super) fn new() -> Self {
        let turnstiles = std::iter::repeat_with(|| Mutex::new(())).take(TURNSTILES).collect();
        Self { heads: Arc::new(Cache::new(HEADS)), turnstiles }
    }

    /// Waits until no other writer of this replica is at work on the repo.
    pub(super) async fn turn(&self, account: AccountId) -> MutexGuard<'_, ()> {
        let place = usize::try_from(account.get().unsigned_abs()).unwrap_or(usize::MAX) % TURNSTILES;
        self.turnstiles[place].lock().await
    }

    pub(super) fn get(&self, account: AccountId) -> Option<Head> {
        self.heads.get(&account)
    }

    pub(super) fn insert(&self, account: AccountId, head: Head) {
        self.heads.insert(account, head);
    }

    pub(super) fn forget(&self, account: AccountId) {
        self.heads.remove(&account);
    }
}
