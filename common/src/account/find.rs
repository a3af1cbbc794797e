//! Looking accounts up.

use std::time::Duration;

use atproto::syntax::{AtIdentifier, Did, Handle};
use moka::future::Cache;
use sqlx::PgConnection;

use super::email::{EmailAddress, EmailRules};
use super::password::Passwords;
use super::{Account, AccountId, AccountStatus, store};
use crate::db::{Lookup, Lookups, PgPool};

/// How many active accounts a replica remembers.
const REMEMBERED: u64 = 100_000;
/// How long it does. Long enough for a burst of writes, short enough that a takedown is felt everywhere within seconds.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// The accounts of this server.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub(super) pool: PgPool,
    pub(super) passwords: Passwords,
    emails: EmailRules,
    principals: Cache<Did, Principal>,
    by_did: Lookups<ByDid>,
}

/// Accounts by their DIDs.
#[derive(Debug)]
struct ByDid;

impl Lookup for ByDid {
    type Key = Did;
    type Row = Account;

    async fn find_all(conn: &mut PgConnection, dids: &[Did]) -> sqlx::Result<Vec<Option<Account>>> {
        store::find_all_by_did(conn, dids).await
    }
}

/// Who acts: what a request needs to know of an account that it has authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The account's number.
    pub id: AccountId,
    /// Its DID.
    pub did: Did,
    /// Its handle.
    pub handle: Option<Handle>,
    /// Its status.
    pub status: AccountStatus,
}

impl From<Account> for Principal {
    fn from(account: Account) -> Self {
        Self { id: account.id, did: account.did, handle: account.handle, status: account.status }
    }
}

impl Accounts {
    /// Serves the accounts in `pool`'s database.
    pub fn new(pool: PgPool) -> Self {
        let principals = Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        let by_did = Lookups::new(pool.clone());
        Self { pool, passwords: Passwords::default(), emails: EmailRules::default(), principals, by_did }
    }

    /// The same accounts, whose e-mail addresses are subject to these rules.
    #[must_use]
    pub fn with_email_rules(self, emails: EmailRules) -> Self {
        Self { emails, ..self }
    }

    /// What e-mail addresses users may have.
    pub fn emails(&self) -> &EmailRules {
        &self.emails
    }

    /// The hasher, shared so that all hashing keeps within one limit.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// The account with this DID, in whatever state.
    pub async fn find_by_did(&self, did: &Did) -> sqlx::Result<Option<Account>> {
        self.by_did.find(did.clone()).await
    }

    /// The account with this handle, in whatever state.
    pub async fn find_by_handle(&self, handle: &Handle) -> sqlx::Result<Option<Account>> {
        let login = store::find_by_handle(&mut *self.pool.acquire().await?, handle).await?;
        Ok(login.map(|login| login.account))
    }

    /// The account with this e-mail address, in whatever state; letters match in either case.
    pub async fn find_by_email(&self, email: &str) -> sqlx::Result<Option<Account>> {
        // Text in Postgres has no NUL, so no address does.
        if email.len() > EmailAddress::MAX_LEN || email.contains('\0') {
            return Ok(None);
        }
        let login = store::find_by_email(&mut *self.pool.acquire().await?, &email.to_ascii_lowercase()).await?;
        Ok(login.map(|login| login.account))
    }

    /// The account that a request's `repo` or `actor` names.
    pub async fn find_by_identifier(&self, identifier: &AtIdentifier) -> sqlx::Result<Option<Account>> {
        match identifier {
            AtIdentifier::Did(did) => self.find_by_did(did).await,
            AtIdentifier::Handle(handle) => self.find_by_handle(handle).await,
        }
    }

    /// Who the owner of a token is, as of a few seconds ago if the account was active then.
    ///
    /// Right for requests that a wrong answer does not harm: reads of one's own data, and writes whose statement checks the
    /// account's state again, as every repo commit does. An account that was not active is always read afresh.
    pub async fn find_principal(&self, did: &Did) -> sqlx::Result<Option<Principal>> {
        if let Some(principal) = self.principals.get(did).await {
            return Ok(Some(principal));
        }
        self.find_principal_now(did).await
    }

    /// As [`Accounts::find_principal`], as of now.
    pub async fn find_principal_now(&self, did: &Did) -> sqlx::Result<Option<Principal>> {
        let principal = self.find_by_did(did).await?.map(Principal::from);
        match &principal {
            Some(principal) if principal.status.is_active() => {
                self.principals.insert(did.clone(), principal.clone()).await;
            }
            Some(_) | None => self.principals.invalidate(did).await,
        }
        Ok(principal)
    }

    /// Lets this replica look at an account afresh, because it was changed here.
    pub async fn forget(&self, did: &Did) {
        self.principals.invalidate(did).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestDb, seed};

    async fn with_alice() -> (TestDb, Accounts, AccountId) {
        let db = TestDb::create().await;
        let alice = seed::account(&db.pool(), "alice.test").await;
        let accounts = Accounts::new(db.pool());
        (db, accounts, alice)
    }

    #[tokio::test]
    async fn every_name_finds_the_account() {
        let (_db, accounts, alice) = with_alice().await;
        let did: Did = seed::did_of("alice.test").parse().unwrap();
        let found = accounts.find_by_did(&did).await.unwrap().unwrap();
        assert_eq!((found.id, &found.did, found.shown_handle()), (alice, &did, "alice.test"));
        assert_eq!(found.email.as_deref(), Some("alice@mail.test"));
        assert_eq!(found.status, AccountStatus::Active);
        let by_handle = accounts.find_by_handle(&"alice.test".parse().unwrap()).await.unwrap();
        let by_email = accounts.find_by_email("Alice@Mail.Test").await.unwrap();
        assert_eq!((by_handle.as_ref(), by_email.as_ref()), (Some(&found), Some(&found)));
        for text in ["alice.test", did.as_str()] {
            assert_eq!(accounts.find_by_identifier(&text.parse().unwrap()).await.unwrap().as_ref(), Some(&found));
        }
        assert_eq!(accounts.find_by_handle(&"bob.test".parse().unwrap()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_active_accounts_are_remembered() {
        let (db, accounts, _) = with_alice().await;
        let did: Did = seed::did_of("alice.test").parse().unwrap();
        let status = async || accounts.find_principal(&did).await.unwrap().unwrap().status;
        seed::set_deactivated(&db.pool(), did.as_str(), true).await;
        assert_eq!(status().await, AccountStatus::Deactivated);
        seed::set_deactivated(&db.pool(), did.as_str(), false).await;
        assert_eq!(status().await, AccountStatus::Active);
        // Remembered now; the fresh look sees the change, and makes the other see it.
        seed::set_taken_down(&db.pool(), did.as_str(), true).await;
        assert_eq!(status().await, AccountStatus::Active);
        assert_eq!(accounts.find_principal_now(&did).await.unwrap().unwrap().status, AccountStatus::Takendown);
        assert_eq!(status().await, AccountStatus::Takendown);
    }
}
