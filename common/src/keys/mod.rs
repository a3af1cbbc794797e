//! The accounts' signing keys: sealed in the database, open only in memory.
//!
//! Every key is sealed by a key-encryption key, whose id stands beside it, so that several may be in use while one takes
//! the other's place ([`Rewrapper`]). The server's own key, which signs PLC operations, is not among them: see
//! [`RotationKey`].
//!
//! Tables: `signing_key`, whose rows are made by `common::lifecycle`, in the statement that creates the account, and
//! `reserved_signing_key`.

mod reserved;
mod rewrap;
mod rotation;
mod seal;
mod service_token;
mod store;

use std::sync::Arc;
use std::time::Duration;

use atproto::crypto::{PublicKey, SigningKey};
use atproto::syntax::Did;
use moka::future::Cache;

use crate::db::{AccountId, PgPool};
pub use reserved::{MAX_RESERVED, RESERVED_FOR};
pub use rewrap::{KeyCount, RewrapBatch, Rewrapper, Unopened};
pub use rotation::{RotationKey, RotationKeyError, RotationSigner};
pub use seal::{KeyId, KeyVault, SealError, SealedKey, SealingKey};
pub use service_token::ServiceToken;

/// How many opened keys a replica keeps; the least used go first, and are wiped.
const OPENED: u64 = 10_000;
/// How long a key that nobody uses stays open.
const OPENED_FOR: Duration = Duration::from_mins(10);

/// The signing keys of this server's accounts.
#[derive(Clone, Debug)]
pub struct Keys {
    pool: PgPool,
    vault: Arc<KeyVault>,
    /// Opened keys. A key is wiped when the cache has dropped it and the last signature with it is made.
    opened: Cache<AccountId, Arc<SigningKey>>,
}

/// Why a signing key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is sealed by a key this process does not have, or was tampered with.
    #[error("cannot open a signing key")]
    Sealed(#[from] SealError),
    /// Postgres failed.
    #[error("key storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Keys {
    /// Serves the keys in `pool`'s database, which `vault` opens.
    pub fn new(pool: PgPool, vault: KeyVault) -> Self {
        let opened = Cache::builder().max_capacity(OPENED).time_to_idle(OPENED_FOR).build();
        Self { pool, vault: Arc::new(vault), opened }
    }

    /// What seals new keys.
    pub fn vault(&self) -> &KeyVault {
        &self.vault
    }

    /// The key that signs this account's commits and service tokens; `None` if there is no such account.
    pub async fn find_signing_key(&self, account: AccountId, did: &Did) -> Result<Option<Arc<SigningKey>>, KeyError> {
        if let Some(key) = self.opened.get(&account).await {
            return Ok(Some(key));
        }
        let Some(sealed) = store::find(&mut *self.pool.acquire().await?, account).await? else { return Ok(None) };
        let key = Arc::new(self.vault.open(did, &sealed)?);
        self.opened.insert(account, Arc::clone(&key)).await;
        Ok(Some(key))
    }

    /// The public half of the key that signs for this account, which takes no secret; `None` if there is no such account.
    pub async fn find_public_key(&self, account: AccountId) -> sqlx::Result<Option<PublicKey>> {
        store::find_public_key(&mut *self.pool.acquire().await?, account).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestDb, seed};

    #[tokio::test]
    async fn a_stored_key_is_found_and_stays_open() {
        let db = TestDb::create().await;
        let account = seed::account(&db.pool(), "alice.test").await;
        let did: Did = seed::did_of("alice.test").parse().unwrap();
        let vault = || KeyVault::new(SealingKey::new(&[1; 32]));
        let keys = Keys::new(db.pool(), vault());
        assert!(keys.find_signing_key(account, &did).await.unwrap().is_none());

        let key = SigningKey::generate(&mut rand::rng());
        seed::signing_key(&db.pool(), account, &vault().seal(&did, &key).unwrap()).await;
        let found = keys.find_signing_key(account, &did).await.unwrap().unwrap();
        assert_eq!(*found, key);
        assert!(Arc::ptr_eq(&found, &keys.find_signing_key(account, &did).await.unwrap().unwrap()));

        let stranger = Keys::new(db.pool(), KeyVault::new(SealingKey::new(&[2; 32])));
        let error = stranger.find_signing_key(account, &did).await.unwrap_err();
        assert!(matches!(error, KeyError::Sealed(SealError::UnknownKey(_))), "{error}");
    }
}
