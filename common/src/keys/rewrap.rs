//! Sealing keys anew after the key-encryption key has changed, beside servers that use them.

use std::collections::HashMap;
use std::sync::Arc;

use atproto::syntax::Did;

use super::store::{self, Resealed, Stored};
use super::{KeyId, KeyVault, SealError, reserved};
use crate::db::{AccountId, PgPool};

/// Keys that are counted in one statement.
const COUNTED: u16 = 10_000;

/// Goes once through all sealed keys, the accounts' and the reserved ones, some at a time.
///
/// Each batch reads and writes so many rows and no more, and replaces only what is still as it was read: any number of these
/// may run at a time, and one that was stopped is taken up by the next, which passes over what is done. Servers notice
/// nothing, as long as they have both key-encryption keys.
#[derive(Debug)]
pub struct Rewrapper {
    pool: PgPool,
    vault: Arc<KeyVault>,
    place: Place,
}

/// How far it is: the last key that was looked at.
#[derive(Debug)]
enum Place {
    /// Among the reserved keys; none of them yet if there is none.
    Reserved(Option<Did>),
    /// Among those of accounts.
    Accounts(AccountId),
}

/// What became of some keys.
#[derive(Debug)]
pub struct RewrapBatch {
    /// Keys that the current key-encryption key has sealed now.
    pub resealed: u64,
    /// Keys that could not be opened, and were left as they are.
    pub unopened: Vec<Unopened>,
}

/// A key that could not be opened.
#[derive(Debug)]
pub struct Unopened {
    /// Whose it is.
    pub did: Did,
    /// What sealed it.
    pub key_id: KeyId,
    /// Why not.
    pub error: SealError,
}

/// How many keys a key-encryption key has sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyCount {
    /// The key-encryption key.
    pub key_id: KeyId,
    /// So many.
    pub keys: i64,
    /// Whether it seals new keys.
    pub is_current: bool,
    /// Whether it is configured at all. What another one sealed cannot be opened.
    pub is_known: bool,
}

impl Rewrapper {
    /// Begins with the keys that are reserved, since a sign-up makes one an account's, seal and all. What `vault` seals with
    /// takes the place of everything else.
    pub fn new(pool: PgPool, vault: KeyVault) -> Self {
        Self { pool, vault: Arc::new(vault), place: Place::Reserved(None) }
    }

    /// Looks at the next keys, at most `limit`, and seals those anew that need it; `None` after the last one.
    pub async fn next(&mut self, limit: u16) -> sqlx::Result<Option<RewrapBatch>> {
        let conn = &mut *self.pool.acquire().await?;
        if let Place::Reserved(after) = &self.place {
            let page = reserved::store::list_sealed(conn, after.as_ref(), limit).await?;
            if let Some(last) = page.last().map(|key| key.row.clone()) {
                let (resealed, unopened) = self.reseal(page);
                let resealed = reserved::store::update_sealed(conn, self.vault.current(), &resealed).await?;
                self.place = Place::Reserved(Some(last));
                return Ok(Some(RewrapBatch { resealed, unopened }));
            }
            self.place = Place::Accounts(AccountId::new(0));
        }
        let Place::Accounts(after) = self.place else { return Ok(None) };
        let page = store::list_sealed(conn, after, limit).await?;
        let Some(last) = page.last().map(|key| key.row) else { return Ok(None) };
        let (resealed, unopened) = self.reseal(page);
        let resealed = store::update_sealed(conn, self.vault.current(), &resealed).await?;
        self.place = Place::Accounts(last);
        Ok(Some(RewrapBatch { resealed, unopened }))
    }

    /// How many keys each key-encryption key has sealed; the current one is always among them.
    ///
    /// Reads them all, so many at a time that no statement takes long.
    pub async fn count(&self) -> sqlx::Result<Vec<KeyCount>> {
        self.count_by(COUNTED).await
    }

    async fn count_by(&self, limit: u16) -> sqlx::Result<Vec<KeyCount>> {
        let conn = &mut *self.pool.acquire().await?;
        let current = self.vault.current();
        let mut counts = HashMap::from([(current.clone(), 0)]);
        let mut after = AccountId::new(0);
        while let Some((last, page)) = store::count_sealed(conn, after, limit).await? {
            add(&mut counts, page);
            after = last;
        }
        let mut after = None;
        while let Some((last, page)) = reserved::store::count_sealed(conn, after.as_ref(), limit).await? {
            add(&mut counts, page);
            after = Some(last);
        }
        let count = |(key_id, keys)| {
            let (is_current, is_known) = (key_id == *current, self.vault.knows(&key_id));
            KeyCount { key_id, keys, is_current, is_known }
        };
        let mut counts: Vec<_> = counts.into_iter().map(count).collect();
        counts.sort_by(|one, other| one.key_id.as_str().cmp(other.key_id.as_str()));
        Ok(counts)
    }

    /// Seals those keys anew that something else than the current key has sealed.
    fn reseal<R>(&self, page: Vec<Stored<R>>) -> (Resealed<R>, Vec<Unopened>) {
        let mut resealed = Resealed { rows: Vec::new(), before: Vec::new(), after: Vec::new() };
        let mut unopened = Vec::new();
        for Stored { row, did, sealed } in page {
            if sealed.key_id == *self.vault.current() {
                continue;
            }
            match self.vault.open(&did, &sealed).and_then(|key| self.vault.seal(&did, &key)) {
                Ok(new) => {
                    resealed.rows.push(row);
                    resealed.before.push(sealed.bytes);
                    resealed.after.push(new.bytes);
                }
                Err(error) => unopened.push(Unopened { did, key_id: sealed.key_id, error }),
            }
        }
        (resealed, unopened)
    }
}

fn add(counts: &mut HashMap<KeyId, i64>, page: Vec<(KeyId, i64)>) {
    for (key_id, keys) in page {
        *counts.entry(key_id).or_default() += keys;
    }
}

#[cfg(test)]
mod tests {
    use atproto::crypto::SigningKey;

    use super::*;
    use crate::keys::{Keys, SealingKey};
    use crate::testing::{TestDb, seed};

    fn vault(seed: u8) -> KeyVault {
        KeyVault::new(SealingKey::new(&[seed; 32]))
    }

    /// A vault that seals with one key and opens what another sealed.
    fn both(current: u8, earlier: u8) -> KeyVault {
        vault(current).with_earlier(SealingKey::new(&[earlier; 32]))
    }

    /// Makes an account with a key.
    async fn account(db: &TestDb, name: &str, vault: &KeyVault) -> (AccountId, Did, SigningKey) {
        let handle = format!("{name}.test");
        let id = seed::account(&db.pool(), &handle).await;
        let (did, key): (Did, _) = (seed::did_of(&handle).parse().unwrap(), SigningKey::generate(&mut rand::rng()));
        seed::signing_key(&db.pool(), id, &vault.seal(&did, &key).unwrap()).await;
        (id, did, key)
    }

    async fn run(rewrapper: &mut Rewrapper, limit: u16) -> (u64, Vec<Unopened>) {
        let (mut resealed, mut unopened) = (0, Vec::new());
        while let Some(batch) = rewrapper.next(limit).await.unwrap() {
            resealed += batch.resealed;
            unopened.extend(batch.unopened);
        }
        (resealed, unopened)
    }

    async fn counts(rewrapper: &Rewrapper) -> Vec<(bool, bool, i64)> {
        // In pieces smaller than what there is.
        let mut counts = rewrapper.count_by(2).await.unwrap();
        counts.sort_by_key(|count| (!count.is_current, !count.is_known));
        counts.into_iter().map(|count| (count.is_current, count.is_known, count.keys)).collect()
    }

    #[tokio::test]
    async fn all_keys_are_sealed_anew_in_batches() {
        let db = TestDb::create().await;
        let mut accounts = Vec::new();
        for name in ["alice", "bob", "carol", "dave", "erin"] {
            accounts.push(account(&db, name, &vault(1)).await);
        }
        let mut rewrapper = Rewrapper::new(db.pool(), both(2, 1));
        assert_eq!(counts(&rewrapper).await, [(true, true, 0), (false, true, 5)]);
        assert_eq!(rewrapper.next(2).await.unwrap().unwrap().resealed, 2);
        // It was stopped; another takes it up.
        let mut next = Rewrapper::new(db.pool(), both(2, 1));
        let (resealed, unopened) = run(&mut next, 2).await;
        assert_eq!((resealed, unopened.len()), (3, 0));
        assert_eq!(counts(&next).await, [(true, true, 5)]);
        assert_eq!(run(&mut Rewrapper::new(db.pool(), both(2, 1)), 2).await.0, 0, "nothing is left to do");
        let keys = Keys::new(db.pool(), vault(2));
        for (id, did, key) in &accounts {
            assert_eq!(*keys.find_signing_key(*id, did).await.unwrap().unwrap(), *key);
        }
    }

    #[tokio::test]
    async fn no_batch_reads_more_than_its_share() {
        let db = TestDb::create().await;
        for name in ["alice", "bob", "carol"] {
            account(&db, name, &vault(2)).await;
        }
        let mut rewrapper = Rewrapper::new(db.pool(), both(2, 1));
        // There is nothing to do, and that takes two looks.
        for _ in 0..2 {
            assert_eq!(rewrapper.next(2).await.unwrap().unwrap().resealed, 0);
        }
        assert!(rewrapper.next(2).await.unwrap().is_none());
        assert!(rewrapper.next(2).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn reserved_keys_are_sealed_anew_as_well() {
        let db = TestDb::create().await;
        account(&db, "alice", &vault(1)).await;
        let before = Keys::new(db.pool(), vault(1));
        let bob: Did = "did:web:bob.test".parse().unwrap();
        let reserved = [before.reserve(Some(&bob)).await.unwrap(), before.reserve(None).await.unwrap()];
        let mut rewrapper = Rewrapper::new(db.pool(), both(2, 1));
        assert_eq!(counts(&rewrapper).await, [(true, true, 0), (false, true, 3)]);
        let (resealed, unopened) = run(&mut rewrapper, 1).await;
        assert_eq!((resealed, unopened.len()), (3, 0));
        assert_eq!(counts(&rewrapper).await, [(true, true, 3)]);
        let after = Keys::new(db.pool(), vault(2));
        for (key, did) in reserved.into_iter().zip([bob.to_string(), reserved[1].to_string()]) {
            let (opened, _) = after.find_reserved(&did.parse().unwrap()).await.unwrap().unwrap();
            assert_eq!(opened.public_key(), key);
        }
    }

    #[tokio::test]
    async fn two_at_a_time_do_not_harm_each_other() {
        let db = TestDb::create().await;
        for turn in 0..12 {
            let name = format!("user{}", char::from(b'a' + turn));
            account(&db, &name, &vault(1)).await;
        }
        let mut both_ways = [1, 2].map(|_| Rewrapper::new(db.other_pool(), both(2, 1)));
        let [one, other] = &mut both_ways;
        let ((one_done, one_left), (other_done, other_left)) = tokio::join!(run(one, 3), run(other, 4));
        assert_eq!((one_done + other_done, one_left.len() + other_left.len()), (12, 0));
        assert_eq!(counts(&both_ways[0]).await, [(true, true, 12)]);
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_opened_is_named_and_left() {
        let db = TestDb::create().await;
        account(&db, "alice", &vault(9)).await;
        account(&db, "bob", &vault(1)).await;
        let mut rewrapper = Rewrapper::new(db.pool(), both(2, 1));
        let (resealed, unopened) = run(&mut rewrapper, 1).await;
        assert_eq!(resealed, 1);
        let [Unopened { did, error: SealError::UnknownKey(_), .. }] = &unopened[..] else { panic!("{unopened:?}") };
        assert_eq!(did.as_str(), seed::did_of("alice.test"));
        assert_eq!(counts(&rewrapper).await, [(true, true, 1), (false, false, 1)]);
    }
}
