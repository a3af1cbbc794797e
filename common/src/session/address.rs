//! From where accounts were signed in to.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::{REMOVED, Sessions, store};
use crate::config::SecretsConfig;
use crate::db::AccountId;

/// How long an address is known after somebody signed in from there; up to [`RENEWED_AFTER`] less.
pub const ADDRESS_MEMORY: Duration = Duration::from_hours(30 * 24);
/// How old what is known of an address may be before a sign-in makes it new: most write nothing.
pub(super) const RENEWED_AFTER: Duration = Duration::from_hours(24);

/// Bytes of a mark.
const MARK: usize = 16;
/// Begins what is hashed. No token that is signed with the same secret begins so.
const PURPOSE: &str = "address of a sign-in";

/// What is kept of an address that an account was signed in to from: a keyed hash of both. It cannot be turned back, nor
/// compared with that of another account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AddressMark([u8; MARK]);

impl AddressMark {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Makes marks, with the secret of tokens.
#[derive(Clone, Debug)]
pub(super) struct AddressMarker {
    secret: SecretString,
    previous: Option<SecretString>,
}

impl AddressMarker {
    pub(super) fn new(secrets: &SecretsConfig) -> Self {
        Self { secret: secrets.jwt_secret.clone(), previous: secrets.jwt_secret_previous.clone() }
    }

    /// The mark to keep.
    pub(super) fn mark(&self, account: AccountId, address: &str) -> Option<AddressMark> {
        mark(&self.secret, account, address)
    }

    /// The marks that may be there: also one from before the secret changed.
    fn marks(&self, account: AccountId, address: &str) -> Vec<AddressMark> {
        let secrets = [Some(&self.secret), self.previous.as_ref()];
        secrets.into_iter().flatten().filter_map(|secret| mark(secret, account, address)).collect()
    }
}

/// `None` never happens: a key may have any length.
fn mark(secret: &SecretString, account: AccountId, address: &str) -> Option<AddressMark> {
    let mut hash = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    hash.update(format!("{PURPOSE}\0{}\0{address}", account.get()).as_bytes());
    let hash = hash.finalize().into_bytes();
    hash.first_chunk().copied().map(AddressMark)
}

impl Sessions {
    /// Whether somebody signed in to an account from an address within [`ADDRESS_MEMORY`]. Takes the same time for no
    /// account at all.
    pub async fn know_address(&self, account: Option<AccountId>, address: &str) -> sqlx::Result<bool> {
        let Some(marker) = &self.marker else { return Ok(false) };
        let account = account.unwrap_or(AccountId::new(0));
        let marks = marker.marks(account, address);
        let since = self.clock.now() - ADDRESS_MEMORY;
        store::has_address(&mut *self.pool.acquire().await?, account, &marks, since).await
    }

    /// Knows an address from now on as if an account had been signed in to from there: its owner signed up there.
    pub async fn remember_address(&self, account: AccountId, address: &str) -> sqlx::Result<()> {
        let mark = self.marker.as_ref().and_then(|marker| marker.mark(account, address));
        let Some(mark) = mark else { return Ok(()) };
        store::upsert_address(&mut *self.pool.acquire().await?, account, &mark, self.clock.now()).await
    }

    /// Forgets the addresses from which nobody has signed in for [`ADDRESS_MEMORY`]; gives their number.
    pub async fn forget_addresses(&self) -> sqlx::Result<u64> {
        let (before, mut forgotten) = (self.clock.now() - ADDRESS_MEMORY, 0);
        loop {
            let batch = store::delete_addresses(&mut *self.pool.acquire().await?, before, REMOVED).await?;
            forgotten += batch;
            if batch < u64::from(REMOVED) {
                return Ok(forgotten);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::Opening;
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::testing::{TestDb, seed};

    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA";
    const HOME: &str = "192.0.2.1";
    const DAY: Duration = Duration::from_hours(24);

    struct Scene {
        db: TestDb,
        clock: Clock,
        alice: AccountId,
    }

    impl Scene {
        async fn start() -> Self {
            let db = TestDb::create().await;
            let alice = seed::account(&db.pool(), "alice.test").await;
            seed::set_password(&db.pool(), alice, &HASH.parse().unwrap()).await;
            Self { db, clock: Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap()), alice }
        }

        /// A replica with these secrets.
        fn replica(&self, secret: &str, previous: Option<&str>) -> Sessions {
            let mut secrets = Config::for_tests().secrets;
            (secrets.jwt_secret, secrets.jwt_secret_previous) = (secret.into(), previous.map(SecretString::from));
            Sessions::new(self.db.pool(), self.clock.clone()).with_address_memory(&secrets)
        }

        async fn sign_in(&self, sessions: &Sessions, hash: &str, from: &str) {
            sessions.start(self.alice, Opening::MainPassword { hash }, Some(from)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_is_known_to_its_account_for_a_month_after_the_last_sign_in() {
        let scene = Scene::start().await;
        let (sessions, other) = (scene.replica("a", None), scene.replica("a", None));
        let bob = seed::account(&scene.db.pool(), "bob.test").await;
        scene.sign_in(&sessions, HASH, HOME).await;
        scene.sign_in(&sessions, "changed meanwhile", "192.0.2.2").await;
        for (account, address, known) in [
            (Some(scene.alice), HOME, true),
            (Some(scene.alice), "192.0.2.2", false),
            (Some(bob), HOME, false),
            (None, HOME, false),
        ] {
            assert_eq!(other.know_address(account, address).await.unwrap(), known, "{account:?} {address}");
        }
        let known = async || other.know_address(Some(scene.alice), HOME).await.unwrap();
        scene.clock.advance(20 * DAY);
        scene.sign_in(&sessions, HASH, HOME).await;
        scene.clock.advance(29 * DAY);
        assert!(known().await && other.forget_addresses().await.unwrap() == 0);
        scene.clock.advance(DAY);
        assert!(!known().await);
        assert_eq!((other.forget_addresses().await.unwrap(), other.forget_addresses().await.unwrap()), (1, 0));
    }

    #[tokio::test]
    async fn what_is_kept_needs_the_secret_which_may_change() {
        let scene = Scene::start().await;
        scene.sign_in(&scene.replica("old", None), HASH, HOME).await;
        for (secret, previous, known) in
            [("old", None, true), ("old", Some("new"), true), ("new", Some("old"), true), ("new", None, false)]
        {
            let sessions = scene.replica(secret, previous);
            assert_eq!(sessions.know_address(Some(scene.alice), HOME).await.unwrap(), known, "{secret} {previous:?}");
        }
        let new = scene.replica("new", None);
        new.remember_address(scene.alice, HOME).await.unwrap();
        assert!(new.know_address(Some(scene.alice), HOME).await.unwrap());
        let without = Sessions::new(scene.db.pool(), scene.clock.clone());
        assert!(!without.know_address(Some(scene.alice), HOME).await.unwrap());
    }

    #[test]
    fn marks_of_two_accounts_tell_nothing_of_their_addresses() {
        let marker = AddressMarker { secret: "a".into(), previous: None };
        let mark = |account, address| marker.mark(AccountId::new(account), address).unwrap();
        assert_eq!(mark(1, HOME), mark(1, HOME));
        assert!(mark(1, HOME) != mark(2, HOME) && mark(1, HOME) != mark(1, "192.0.2.2"));
        assert!(mark(1, "1") != mark(11, ""));
    }
}
