//! App passwords: further passwords of an account, made by the server, that may do less than the main one.
//!
//! A session opened with one ends when it is revoked: the rows of its refresh tokens hang on the row here.
//!
//! One that came here from the reference server is known by the hash that it stored, until somebody signs in with it.

mod store;
#[cfg(test)]
mod tests;

use std::fmt;

use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::{Account, AccountId, Accounts, LoginError};
use crate::db;

/// Longest name of an app password, in bytes.
pub const MAX_APP_PASSWORD_NAME: usize = 128;
/// How many app passwords an account may have at once.
pub const MAX_APP_PASSWORDS: i64 = 100;

/// Random bytes of a password.
const RANDOM_BYTES: usize = 10;
/// Letters of each of a password's four parts.
const PART: usize = 4;
/// Parts of a password.
const PARTS: usize = 4;

/// An app password, without the password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppPassword {
    /// What its owner calls it.
    pub name: String,
    /// Whether it may use direct messages.
    pub privileged: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// The text of an app password: `xxxx-xxxx-xxxx-xxxx`, of lower-case letters and the digits 2 to 7.
#[derive(Clone)]
pub struct AppPasswordText(SecretString);

impl AppPasswordText {
    fn generate() -> Self {
        let letters = BASE32_NOPAD.encode(&rand::random::<[u8; RANDOM_BYTES]>()).to_ascii_lowercase();
        let parts: Vec<&str> = (0..PARTS).map(|part| &letters[part * PART..(part + 1) * PART]).collect();
        Self(parts.join("-").into())
    }

    /// The password of somebody who signs in, if it has the form of an app password.
    pub(super) fn parse(password: &SecretString) -> Option<Self> {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
        let mut parts = 0;
        for part in password.expose_secret().split('-') {
            parts += 1;
            if parts > PARTS || part.len() != PART || !part.bytes().all(is_letter) {
                return None;
            }
        }
        (parts == PARTS).then(|| Self(password.clone()))
    }

    /// The password, to be shown once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the password is looked up by. The DID is in it, so that equal passwords of two accounts do not look equal.
    fn digest(&self, did: &Did) -> [u8; 32] {
        Sha256::new().chain_update(did.as_str()).chain_update(" ").chain_update(self.expose()).finalize().into()
    }
}

/// App passwords do not belong in logs.
impl fmt::Debug for AppPasswordText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppPasswordText(…)")
    }
}

/// Why there is no new app password. Except for the last variant the text is what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum CreateAppPasswordError {
    /// The name cannot be one.
    #[error(
        "The name of an app password must have 1 to {MAX_APP_PASSWORD_NAME} bytes, without control characters and \
         without blanks at either end"
    )]
    Name,
    /// There is one of this name.
    #[error("There is an app password with this name already")]
    NameTaken,
    /// There are [`MAX_APP_PASSWORDS`].
    #[error("There are {MAX_APP_PASSWORDS} app passwords already")]
    TooMany,
    /// Postgres failed.
    #[error("app password storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Accounts {
    /// Makes an app password. Its text is not kept.
    pub async fn create_app_password(
        &self,
        account: &Account,
        name: &str,
        privileged: bool,
    ) -> Result<(AppPassword, AppPasswordText), CreateAppPasswordError> {
        if !is_name(name) {
            return Err(CreateAppPasswordError::Name);
        }
        let text = AppPasswordText::generate();
        let new = store::New { account: account.id, name, digest: text.digest(&account.did), privileged };
        match store::insert(&mut *self.pool.acquire().await?, &new).await {
            Ok(Some(created_at)) => Ok((AppPassword { name: name.to_owned(), privileged, created_at }, text)),
            Ok(None) => Err(CreateAppPasswordError::TooMany),
            Err(error) if db::violates(&error, "app_password_pkey") => Err(CreateAppPasswordError::NameTaken),
            Err(error) => Err(error.into()),
        }
    }

    /// The app passwords of an account, the oldest first.
    pub async fn list_app_passwords(&self, account: AccountId) -> sqlx::Result<Vec<AppPassword>> {
        store::list(&mut *self.pool.acquire().await?, account).await
    }

    /// Revokes an app password, and with it the sessions that were opened with it. An unknown name is fine. Access tokens
    /// stay good until they expire.
    pub async fn revoke_app_password(&self, account: AccountId, name: &str) -> sqlx::Result<()> {
        // No other name is there, and text in Postgres has no NUL.
        if !is_name(name) {
            return Ok(());
        }
        store::delete(&mut *self.pool.acquire().await?, account, name).await
    }

    /// The app password behind a text.
    pub(super) async fn find_app_password(
        &self,
        account: &Account,
        text: &AppPasswordText,
    ) -> Result<Option<AppPassword>, LoginError> {
        let digest = text.digest(&account.did);
        let has_older = {
            let conn = &mut *self.pool.acquire().await?;
            if let Some(found) = store::find(conn, account.id, &digest).await? {
                return Ok(Some(found));
            }
            store::has_older(conn, account.id).await?
        };
        if has_older {
            let hash = self.passwords.hash_as_reference(&account.did, text.0.clone()).await?;
            let renewed = store::renew(&mut *self.pool.acquire().await?, account.id, &hash, &digest).await?;
            if renewed.is_some() {
                return Ok(renewed);
            }
        }
        // Another login may have renewed it meanwhile.
        Ok(store::find(&mut *self.pool.acquire().await?, account.id, &digest).await?)
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_APP_PASSWORD_NAME).contains(&name.len()) && name.trim() == name && !name.contains(char::is_control)
}
