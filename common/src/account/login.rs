//! Signing in: whose password it is.

use atproto::syntax::AtIdentifier;
use secrecy::SecretString;

use super::app_password::AppPasswordText;
use super::password::Verdict;
use super::store;
use super::{Account, AccountId, AccountStatus, Accounts, AppPassword, PasswordError, PasswordHash};

/// Longest identifier that is looked up, in bytes: that of the longest DID.
const MAX_IDENTIFIER: usize = 2048;

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Their account.
    pub account: Account,
    /// What they signed in with.
    pub credential: Credential,
}

/// What somebody signed in with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The main password, with its hash as it is stored now.
    MainPassword(PasswordHash),
    /// An app password.
    AppPassword(AppPassword),
}

/// Why a login could not be decided.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The password could not be compared.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Accounts {
    /// Whoever knows an identifier (e-mail address, handle or DID) and the main password or an app password.
    ///
    /// `None` stands for an unknown identifier, a wrong password and an account without one, and for an app password of
    /// an account that was taken down. All but the last of these cost one comparison with a hash, so they take the same
    /// time up to one look at an index; only if the stored hash is of the older kind (see [`Passwords`](super::Passwords))
    /// does a comparison take another time. Whoever answers strangers evens that out.
    pub async fn sign_in(&self, identifier: &str, password: SecretString) -> Result<Option<SignIn>, LoginError> {
        let login = self.find_login(identifier).await?;
        if let Some(login) = &login
            && login.account.status != AccountStatus::Takendown
            && let Some(text) = AppPasswordText::parse(&password)
            && let Some(found) = self.find_app_password(&login.account, &text).await?
        {
            return Ok(Some(SignIn { account: login.account.clone(), credential: Credential::AppPassword(found) }));
        }
        let verified = self.verify(login, password).await?;
        Ok(verified.map(|(account, hash)| SignIn { account, credential: Credential::MainPassword(hash) }))
    }

    /// As [`Accounts::sign_in`], with the main password only: what app passwords may not do.
    pub async fn find_by_login(&self, identifier: &str, password: SecretString) -> Result<Option<Account>, LoginError> {
        let login = self.find_login(identifier).await?;
        Ok(self.verify(login, password).await?.map(|(account, _)| account))
    }

    /// The account that somebody means who signs in with this identifier, whatever its password.
    pub async fn find_signing_in(&self, identifier: &str) -> sqlx::Result<Option<AccountId>> {
        Ok(self.find_login(identifier).await?.map(|login| login.account.id))
    }

    /// Compares with the main password, and stores its hash anew if that is of an older kind.
    async fn verify(
        &self,
        mut login: Option<store::Login>,
        password: SecretString,
    ) -> Result<Option<(Account, PasswordHash)>, LoginError> {
        // Again, if somebody changed the hash meanwhile: another login renews it to one that this password fits too.
        for _ in 0..2 {
            let stored = login.as_ref().and_then(|login| login.password_hash.as_ref());
            let verdict = self.passwords.check(password.clone(), stored).await?;
            let Some(store::Login { account, password_hash: Some(stored) }) = login else { return Ok(None) };
            match verdict {
                Verdict::Wrong => return Ok(None),
                Verdict::Right => return Ok(Some((account, stored))),
                Verdict::Renewed(renewed) => {
                    let conn = &mut *self.pool.acquire().await?;
                    if store::replace_password(conn, account.id, &stored, &renewed).await? {
                        return Ok(Some((account, renewed)));
                    }
                    login = store::find_by_did(conn, &account.did).await?;
                }
            }
        }
        Ok(None)
    }

    async fn find_login(&self, identifier: &str) -> sqlx::Result<Option<store::Login>> {
        // Text in Postgres has no NUL, so nobody's identifier does.
        if identifier.len() > MAX_IDENTIFIER || identifier.contains('\0') {
            return Ok(None);
        }
        let identifier = identifier.to_ascii_lowercase();
        let conn = &mut *self.pool.acquire().await?;
        if identifier.contains('@') {
            return store::find_by_email(conn, &identifier).await;
        }
        match identifier.parse() {
            Ok(AtIdentifier::Did(did)) => store::find_by_did(conn, &did).await,
            Ok(AtIdentifier::Handle(handle)) => store::find_by_handle(conn, &handle).await,
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::password::outdated;
    use crate::account::scene::{World, world};
    use crate::testing::seed;

    impl World {
        async fn set_password(&self, hash: &PasswordHash) {
            seed::set_password(&self.db.pool(), self.alice, hash).await;
        }

        async fn main_login(&self, identifier: &str, password: &str) -> Option<AccountId> {
            let found = self.accounts.find_by_login(identifier, password.into()).await.unwrap();
            found.map(|account| account.id)
        }

        async fn sign_in(&self, password: &str) -> Option<Credential> {
            let found = self.accounts.sign_in("alice.test", password.into()).await.unwrap();
            found.map(|sign_in| sign_in.credential)
        }

        async fn stored(&self) -> PasswordHash {
            let login = self.accounts.find_login("alice.test").await.unwrap().unwrap();
            login.password_hash.unwrap()
        }
    }

    #[tokio::test]
    async fn a_login_takes_any_name_and_only_the_right_password() {
        let world = world().await;
        assert_eq!(world.main_login("alice.test", "").await, None, "an account without a password");
        world.set_password(&world.accounts.passwords().hash("correct horse".into()).await.unwrap()).await;
        for identifier in ["alice.test", "ALICE.test", "alice@mail.test", "Alice@Mail.Test", world.did.as_str()] {
            assert_eq!(world.main_login(identifier, "correct horse").await, Some(world.alice), "{identifier}");
            assert_eq!(world.main_login(identifier, "wrong horse").await, None, "{identifier}");
        }
        let long = "a".repeat(100_000);
        // The letter K of the last but one is the sign for Kelvin, which lower-case rules of Unicode make a k.
        for identifier in [
            "bob.test",
            "bob@mail.test",
            "did:plc:bob",
            "alice",
            "",
            "@",
            "did:",
            "alice@mail.test\0",
            "\u{212A}@mail.test",
            &long,
        ] {
            assert_eq!(world.main_login(identifier, "correct horse").await, None, "{identifier}");
        }
    }

    #[tokio::test]
    async fn an_app_password_signs_in_but_is_not_the_main_one() {
        let world = world().await;
        let account = world.account().await;
        let (made, text) = world.accounts.create_app_password(&account, "phone", true).await.unwrap();
        assert!(matches!(world.sign_in(text.expose()).await, Some(Credential::AppPassword(found)) if found == made));
        assert!(world.sign_in("aaaa-aaaa-aaaa-aaaa").await.is_none());
        assert_eq!(world.main_login("alice.test", text.expose()).await, None);
        seed::set_deactivated(&world.db.pool(), world.did.as_str(), true).await;
        assert!(world.sign_in(text.expose()).await.is_some());
        seed::set_taken_down(&world.db.pool(), world.did.as_str(), true).await;
        assert!(world.sign_in(text.expose()).await.is_none());
    }

    #[tokio::test]
    async fn the_main_password_may_look_like_an_app_password() {
        let world = world().await;
        let hash = world.accounts.passwords().hash("aaaa-bbbb-cccc-dddd".into()).await.unwrap();
        world.set_password(&hash).await;
        let credential = world.sign_in("aaaa-bbbb-cccc-dddd").await;
        assert!(matches!(credential, Some(Credential::MainPassword(found)) if found == hash));
    }

    #[tokio::test]
    async fn hashes_of_older_kinds_are_renewed_by_the_right_password_only() {
        let world = world().await;
        for old in outdated() {
            world.set_password(&old).await;
            assert!(world.sign_in("wrong horse").await.is_none());
            assert_eq!(world.stored().await, old);
            let credential = world.sign_in("correct horse").await;
            let stored = world.stored().await;
            assert_ne!(stored, old);
            assert!(matches!(credential, Some(Credential::MainPassword(hash)) if hash == stored));
            assert!(world.sign_in("correct horse").await.is_some());
            assert_eq!(world.stored().await, stored, "once is enough");
        }
    }
}
