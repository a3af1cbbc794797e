//! Passwords: hashed with Argon2id, a few at a time, off the async threads.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};
use argon2::{Argon2, Params};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

/// Longest new password, in characters.
pub const MAX_NEW_PASSWORD_CHARS: usize = 256;
/// Longest password that is tried at all, in characters: hashing is work that anybody may ask for.
pub const MAX_LOGIN_PASSWORD_CHARS: usize = 512;

/// A stored password: a PHC string, which names its own algorithm and parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// The text is not a PHC string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored password hash is damaged")]
pub struct PasswordHashError;

impl PasswordHash {
    /// The PHC string, for the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        phc::PasswordHash::new(text).map_err(|_| PasswordHashError)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Why a password could be neither hashed nor compared. Never that it is wrong.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The hash names an algorithm or parameters that this release does not know.
    #[error("cannot use the password hash: {0}")]
    Hash(argon2::password_hash::Error),
    /// The process is shutting down.
    #[error("the password hash was not computed")]
    Interrupted,
}

/// Hashes and compares passwords.
///
/// A hash takes 19 MiB and some tens of milliseconds of one core. At most one per core runs at a time; the rest wait, so
/// that a flood of logins costs neither memory without bound nor all async threads.
#[derive(Clone, Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// What is compared when there is nothing to compare with.
    decoy: PasswordHash,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { permits: Arc::new(Semaphore::new(cores)), decoy: decoy() }
    }
}

impl Passwords {
    /// Hashes a new password under a random salt.
    pub async fn hash(&self, password: SecretString) -> Result<PasswordHash, PasswordError> {
        self.run(move || {
            let hash = Argon2::default().hash_password(password.expose_secret().as_bytes());
            Ok(PasswordHash(hash.map_err(PasswordError::Hash)?.to_string().into()))
        })
        .await
    }

    /// True if `password` is the one behind `hash`. Without a hash it is false, after the same work: the time must not
    /// tell whether an account exists.
    pub async fn verify(&self, password: SecretString, hash: Option<&PasswordHash>) -> Result<bool, PasswordError> {
        let exists = hash.is_some();
        let hash = hash.unwrap_or(&self.decoy).clone();
        let matches = self.run(move || compare(&password, &hash)).await?;
        Ok(matches && exists)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Interrupted)?;
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller that goes away leaves it running.
            let _permit = permit;
            work()
        });
        task.await.map_err(|_| PasswordError::Interrupted)?
    }
}

fn compare(password: &SecretString, hash: &PasswordHash) -> Result<bool, PasswordError> {
    let hash = phc::PasswordHash::new(hash.as_str()).map_err(|error| PasswordError::Hash(error.into()))?;
    match Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(PasswordError::Hash(error)),
    }
}

/// A hash that no password has (its output is all zeros), with the parameters of new ones: comparing takes as long.
fn decoy() -> PasswordHash {
    let (memory, passes, lanes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    let (salt, output) = ("A".repeat(22), "A".repeat(43));
    PasswordHash(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(passwords.verify("correct horse".into(), Some(&hash)).await.unwrap());
        assert!(!passwords.verify("correct horse ".into(), Some(&hash)).await.unwrap());
        assert!(!passwords.verify("".into(), Some(&hash)).await.unwrap());
        assert_ne!(passwords.hash("correct horse".into()).await.unwrap(), hash, "the salt is random");
    }

    #[tokio::test]
    async fn a_missing_hash_costs_a_comparison_and_never_matches() {
        let passwords = Passwords::default();
        assert!(!passwords.verify("correct horse".into(), None).await.unwrap());
        let made = passwords.hash("x".into()).await.unwrap();
        let cost = |hash: &PasswordHash| hash.as_str().split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(&passwords.decoy), cost(&made));
    }

    #[tokio::test]
    async fn an_unknown_algorithm_is_an_error_and_not_a_wrong_password() {
        let hash: PasswordHash = "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAA".parse().unwrap();
        let error = Passwords::default().verify("x".into(), Some(&hash)).await.unwrap_err();
        assert!(matches!(error, PasswordError::Hash(_)), "{error}");
        assert_eq!("plain".parse::<PasswordHash>(), Err(PasswordHashError));
    }
}
