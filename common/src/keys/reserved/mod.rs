//! Signing keys that are reserved for accounts to come.
//!
//! Table: `reserved_signing_key`. Whoever moves here asks for a key first and puts it into their DID; the statement that
//! creates the account uses the reservation up. One that nobody comes back for is forgotten after [`RESERVED_FOR`]; sooner
//! only if so many are asked for that there are more than [`MAX_RESERVED`]: anybody may ask, so something must give. Those
//! for nobody in particular do first, since each question makes another one; then the oldest.

pub(super) mod store;

use std::time::Duration;

use atproto::crypto::{PublicKey, SigningKey};
use atproto::syntax::Did;

use super::{KeyError, Keys, SealError, SealedKey};

/// How long a key stays reserved after it was last asked for.
pub const RESERVED_FOR: Duration = Duration::from_hours(30 * 24);
/// Keys that are reserved at once.
pub const MAX_RESERVED: u32 = 100_000;

/// Keys that one statement forgets.
const FORGOTTEN: u16 = 1000;

impl Keys {
    /// Reserves a key: for an account with this DID, which gets the same one each time, or else for nobody in particular.
    pub async fn reserve(&self, did: Option<&Did>) -> Result<PublicKey, KeyError> {
        let key = SigningKey::generate(&mut rand::rng());
        let public_key = key.public_key();
        let did = match did {
            Some(did) => did.clone(),
            None => public_key.to_string().parse().map_err(|_| SealError::Unsealable)?,
        };
        let sealed = self.vault.seal(&did, &key)?;
        Ok(store::insert(&mut *self.pool.acquire().await?, &did, &public_key, &sealed).await?)
    }

    /// The key that is reserved for this DID, open and sealed.
    pub async fn find_reserved(&self, did: &Did) -> Result<Option<(SigningKey, SealedKey)>, KeyError> {
        let sealed = store::find(&mut *self.pool.acquire().await?, did).await?;
        let opened = sealed.map(|sealed| Ok::<_, KeyError>((self.vault.open(did, &sealed)?, sealed)));
        opened.transpose()
    }

    /// Forgets the reservations that nobody came back for, and the oldest of too many; gives how many.
    pub async fn delete_stale_reservations(&self) -> sqlx::Result<u64> {
        self.delete_reservations(MAX_RESERVED, FORGOTTEN).await
    }

    async fn delete_reservations(&self, kept: u32, at_once: u16) -> sqlx::Result<u64> {
        let mut deleted = 0;
        loop {
            let batch = store::delete_stale(&mut *self.pool.acquire().await?, RESERVED_FOR, at_once).await?;
            deleted += batch;
            if batch < u64::from(at_once) {
                break;
            }
        }
        let mut excess = store::count(&mut *self.pool.acquire().await?).await?.saturating_sub(kept.into());
        while excess > 0 {
            let limit = u16::try_from(excess).unwrap_or(u16::MAX).min(at_once);
            let batch = store::delete_excess(&mut *self.pool.acquire().await?, limit).await?;
            deleted += batch;
            // The rest is being asked for, or used up, at this moment.
            excess = if batch == 0 { 0 } else { excess.saturating_sub(batch) };
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeyVault, SealingKey};
    use super::*;
    use crate::testing::TestDb;
    use crate::testing::traces;

    #[tokio::test]
    async fn a_did_has_one_key_on_all_replicas_until_it_is_forgotten() {
        let db = TestDb::create().await;
        let keys = [0, 1].map(|_| Keys::new(db.other_pool(), KeyVault::new(SealingKey::new(&[1; 32]))));
        let [alice, bob]: [Did; 2] = ["did:plc:alice", "did:web:bob.test"].map(|did| did.parse().unwrap());
        assert!(keys[0].find_reserved(&alice).await.unwrap().is_none());
        let (first, second) = tokio::join!(keys[0].reserve(Some(&alice)), keys[1].reserve(Some(&alice)));
        let key = first.unwrap();
        assert_eq!(second.unwrap(), key);
        assert_ne!(keys[0].reserve(Some(&bob)).await.unwrap(), key);
        let (opened, sealed) = keys[1].find_reserved(&alice).await.unwrap().unwrap();
        assert_eq!(opened.public_key(), key);
        assert_eq!(keys[0].vault().open(&alice, &sealed).unwrap(), opened);

        assert_eq!(keys[0].delete_stale_reservations().await.unwrap(), 0);
        traces::age_reservation(&db.pool(), &alice, RESERVED_FOR).await;
        assert_eq!(keys[0].delete_stale_reservations().await.unwrap(), 1);
        assert!(keys[0].find_reserved(&alice).await.unwrap().is_none());
        assert!(keys[0].find_reserved(&bob).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn the_oldest_of_too_many_are_forgotten() {
        let db = TestDb::create().await;
        let keys = Keys::new(db.pool(), KeyVault::new(SealingKey::new(&[1; 32])));
        let dids: Vec<Did> = (0..7).map(|n| format!("did:web:user{n}.test").parse().unwrap()).collect();
        for did in &dids {
            keys.reserve(Some(did)).await.unwrap();
        }
        // Whoever comes back is among the newest.
        keys.reserve(Some(&dids[0])).await.unwrap();
        assert_eq!(keys.delete_stale_reservations().await.unwrap(), 0);
        assert_eq!(keys.delete_reservations(3, 2).await.unwrap(), 4);
        for (n, did) in dids.iter().enumerate() {
            let is_reserved = keys.find_reserved(did).await.unwrap().is_some();
            assert_eq!(is_reserved, [0, 5, 6].contains(&n), "{n}");
        }
    }

    #[tokio::test]
    async fn those_for_nobody_go_before_those_for_somebody() {
        let db = TestDb::create().await;
        let keys = Keys::new(db.pool(), KeyVault::new(SealingKey::new(&[1; 32])));
        let alice: Did = "did:web:alice.test".parse().unwrap();
        keys.reserve(Some(&alice)).await.unwrap();
        let mut unnamed = Vec::new();
        for _ in 0..4 {
            unnamed.push(keys.reserve(None).await.unwrap().to_string().parse::<Did>().unwrap());
        }
        assert_eq!(keys.delete_reservations(2, 1).await.unwrap(), 3);
        for (did, is_reserved) in [(&alice, true), (&unnamed[2], false), (&unnamed[3], true)] {
            assert_eq!(keys.find_reserved(did).await.unwrap().is_some(), is_reserved, "{did}");
        }
    }

    #[tokio::test]
    async fn keys_for_nobody_in_particular_are_all_different() {
        let db = TestDb::create().await;
        let keys = Keys::new(db.pool(), KeyVault::new(SealingKey::new(&[1; 32])));
        let (one, other) = (keys.reserve(None).await.unwrap(), keys.reserve(None).await.unwrap());
        assert_ne!(one, other);
        let (opened, _) = keys.find_reserved(&one.to_string().parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(opened.public_key(), one);
    }
}
