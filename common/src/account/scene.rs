//! What the tests of accounts start from.

use atproto::syntax::Did;

use super::{Account, AccountId, Accounts};
use crate::testing::{TestDb, seed};

/// An account, Alice's.
pub(super) struct World {
    pub(super) db: TestDb,
    pub(super) accounts: Accounts,
    pub(super) alice: AccountId,
    pub(super) did: Did,
}

pub(super) async fn world() -> World {
    let db = TestDb::create().await;
    let alice = seed::account(&db.pool(), "alice.test").await;
    World { accounts: Accounts::new(db.pool()), alice, did: seed::did_of("alice.test").parse().unwrap(), db }
}

impl World {
    /// Alice's account as it is now.
    pub(super) async fn account(&self) -> Account {
        self.accounts.find_by_did(&self.did).await.unwrap().unwrap()
    }
}
