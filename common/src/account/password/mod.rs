//! Passwords: hashed with Argon2id, a few at a time, off the async threads.

mod hash;

use std::num::NonZeroUsize;
use std::sync::Arc;

use atproto::syntax::Did;
use secrecy::SecretString;
use tokio::sync::Semaphore;

#[cfg(test)]
pub(super) use hash::outdated;
pub use hash::{PasswordHash, PasswordHashError};

/// Longest new password, in characters.
pub const MAX_NEW_PASSWORD_CHARS: usize = 256;
/// Longest password that is tried at all, in characters: hashing is work that anybody may ask for.
pub const MAX_LOGIN_PASSWORD_CHARS: usize = 512;

/// How many may wait for each core. At some 30 ms a hash that is about two seconds, after which a client would rather
/// hear that it should come back.
const WAITING_PER_CORE: usize = 64;

/// Why a password could be neither hashed nor compared. Never that it is wrong.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The hash names an algorithm or parameters that this release does not know.
    #[error("cannot use the password hash: {0}")]
    Hash(argon2::password_hash::Error),
    /// Too many wait already; a moment later there may be fewer.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The process is shutting down.
    #[error("the password hash was not computed")]
    Interrupted,
}

/// How a password compares with a hash.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It is another one.
    Wrong,
    /// It is the one.
    Right,
    /// It is the one, and this is the hash to store now: the old one is of another kind than new ones are.
    Renewed(PasswordHash),
}

/// Hashes and compares passwords.
///
/// A hash takes 19 MiB and some tens of milliseconds of one core. At most one per core runs at a time, on a thread of its
/// own, and some wait; the rest are refused at once. So a flood of logins costs neither memory nor time without bound, nor
/// does it hold async threads or database connections, which all other methods go on with.
///
/// Hashes of the reference server (scrypt) fit too, until their owner signs in the next time. Comparing with one takes
/// about twice as long as with a new one, or as with none.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// For those that run.
    permits: Arc<Semaphore>,
    /// For those that run or wait.
    places: Arc<Semaphore>,
    /// What is compared when there is nothing to compare with.
    decoy: PasswordHash,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_limits(cores, cores * WAITING_PER_CORE)
    }
}

impl Passwords {
    fn with_limits(running: usize, waiting: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(running)),
            places: Arc::new(Semaphore::new(running + waiting)),
            decoy: PasswordHash::decoy(),
        }
    }

    /// Hashes a new password under a random salt.
    pub async fn hash(&self, password: SecretString) -> Result<PasswordHash, PasswordError> {
        self.run(move || PasswordHash::new(&password)).await
    }

    /// What the reference server stores of an app password.
    pub(super) async fn hash_as_reference(
        &self,
        did: &Did,
        password: SecretString,
    ) -> Result<PasswordHash, PasswordError> {
        let did = did.clone();
        self.run(move || PasswordHash::of_app_password(&did, &password)).await
    }

    /// True if `password` is the one behind `hash`. Without a hash it is false, after the same work: the time must not
    /// tell whether an account exists.
    pub async fn verify(&self, password: SecretString, hash: Option<&PasswordHash>) -> Result<bool, PasswordError> {
        Ok(!matches!(self.check(password, hash).await?, Verdict::Wrong))
    }

    /// As [`Passwords::verify`]; also makes a new hash where it is time for one.
    pub(super) async fn check(
        &self,
        password: SecretString,
        hash: Option<&PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        let is_decoy = hash.is_none();
        let hash = hash.unwrap_or(&self.decoy).clone();
        self.run(move || {
            if !hash.fits(&password)? || is_decoy {
                Ok(Verdict::Wrong)
            } else if hash.is_outdated() {
                PasswordHash::new(&password).map(Verdict::Renewed)
            } else {
                Ok(Verdict::Right)
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Interrupted)?;
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller that goes away leaves it running.
            let _held = (place, permit);
            work()
        });
        task.await.map_err(|_| PasswordError::Interrupted)?
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(passwords.verify("correct horse".into(), Some(&hash)).await.unwrap());
        assert!(!passwords.verify("".into(), Some(&hash)).await.unwrap());
        assert!(!passwords.verify("correct horse".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_is_renewed_only_by_the_right_password_and_when_it_is_time() {
        let passwords = Passwords::default();
        for old in outdated() {
            assert!(matches!(passwords.check("wrong".into(), Some(&old)).await, Ok(Verdict::Wrong)));
            let Ok(Verdict::Renewed(new)) = passwords.check("correct horse".into(), Some(&old)).await else {
                panic!("not renewed")
            };
            assert!(matches!(passwords.check("correct horse".into(), Some(&new)).await, Ok(Verdict::Right)));
        }
    }

    #[tokio::test]
    async fn whoever_finds_no_place_is_refused_and_those_who_wait_are_served() {
        let passwords = Passwords::with_limits(1, 1);
        let running = Arc::clone(&passwords.permits).acquire_owned().await.unwrap();
        let mut waiting = [pin!(passwords.hash("a".into())), pin!(passwords.hash("b".into()))];
        for hash in &mut waiting {
            assert!(poll!(hash).is_pending());
        }
        assert!(matches!(passwords.hash("c".into()).await, Err(PasswordError::Busy)));
        drop(running);
        for hash in waiting {
            hash.await.unwrap();
        }
        passwords.hash("c".into()).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_place_to_others() {
        let passwords = Passwords::with_limits(1, 0);
        let running = Arc::clone(&passwords.permits).acquire_owned().await.unwrap();
        {
            let mut waiting = pin!(passwords.hash("a".into()));
            assert!(poll!(&mut waiting).is_pending());
        }
        drop(running);
        passwords.hash("b".into()).await.unwrap();
    }
}
