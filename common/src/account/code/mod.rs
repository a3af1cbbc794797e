//! Codes sent by e-mail: who enters one reads the account's mail.
//!
//! A code is stored and its mail enqueued in one transaction. There is one for each account and purpose; asking again
//! replaces it. It is good once, for [`CODE_LIFETIME`] by the clock of Postgres, which is the same for all replicas. How
//! often codes may be asked for and tried is limited where requests come in.

mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use atproto::syntax::{Did, Handle};
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::jobs::{CodePurpose, SendCode};
use super::{AccountId, Accounts};
use crate::jobs;

/// How long a code is good.
pub const CODE_LIFETIME: Duration = Duration::from_mins(15);

/// Codes that one statement forgets.
const FORGOTTEN: u16 = 1000;
/// Letters of each of a code's halves: 50 bits in all.
const HALF: usize = 5;
/// Random bytes that give at least as many letters.
const RANDOM_BYTES: usize = 7;

/// A code as the mail shows it: `XXXXX-XXXXX`, of upper-case letters and the digits 2 to 7.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailCode(Box<str>);

/// The text cannot be a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a code")]
pub struct EmailCodeError;

impl EmailCode {
    fn generate() -> Self {
        let letters = BASE32_NOPAD.encode(&rand::random::<[u8; RANDOM_BYTES]>());
        Self(format!("{}-{}", &letters[..HALF], &letters[HALF..2 * HALF]).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the code is looked up by.
    fn digest(&self, purpose: CodePurpose) -> [u8; 32] {
        Sha256::digest(format!("{purpose} {}", self.0)).into()
    }
}

impl FromStr for EmailCode {
    type Err = EmailCodeError;

    /// Letters may be of either case, and blanks around a copied code are harmless.
    fn from_str(text: &str) -> Result<Self, EmailCodeError> {
        let text = text.trim_ascii();
        let is_half = |half: &str| {
            half.len() == HALF && half.bytes().all(|byte| byte.is_ascii_alphabetic() || (b'2'..=b'7').contains(&byte))
        };
        match text.split_once('-') {
            Some((first, second)) if is_half(first) && is_half(second) => Ok(Self(text.to_ascii_uppercase().into())),
            Some(_) | None => Err(EmailCodeError),
        }
    }
}

/// Codes do not belong in logs.
impl fmt::Debug for EmailCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailCode(…)")
    }
}

/// What a mail with a code is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeMail {
    /// Where it goes: the account's address as of now.
    pub email: String,
    /// Whose it is.
    pub handle: Option<Handle>,
    /// The code.
    pub code: EmailCode,
    /// How long it is good. No other code of the account for the purpose is good for exactly as long.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for CodeMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeMail").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// Why a code is not accepted. The texts are what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// It was never sent, was replaced, or was used before.
    #[error("Token is invalid")]
    Invalid,
    /// It is too old.
    #[error("Token is expired")]
    Expired,
    /// Postgres failed.
    #[error("code storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Accounts {
    /// Makes a code, in place of an older one for the same purpose, and has it mailed. Does nothing for an account that
    /// is gone.
    pub async fn request_code(&self, request: &SendCode) -> sqlx::Result<()> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        request_code(&mut transaction, request).await?;
        transaction.commit().await
    }

    /// The code to mail now; `None` if it was used, has expired, or there is no address to mail it to.
    pub async fn find_code(&self, did: &Did, purpose: CodePurpose) -> sqlx::Result<Option<CodeMail>> {
        store::find_mail(&mut *self.pool.acquire().await?, did, purpose).await
    }

    /// Uses an account's code up. Of several who try one code at once, one succeeds.
    ///
    /// # Errors
    /// [`CodeError::Invalid`] also for what cannot be a code, and for an account that is gone.
    pub async fn consume_code(&self, did: &Did, purpose: CodePurpose, code: &str) -> Result<(), CodeError> {
        let account = self.find_by_did(did).await?.ok_or(CodeError::Invalid)?;
        consume_code(&mut *self.pool.acquire().await?, account.id, purpose, code).await
    }

    /// Whose code this is. It stays good: what it is for is still to be done.
    ///
    /// # Errors
    /// As [`Accounts::consume_code`].
    pub async fn find_code_owner(&self, purpose: CodePurpose, code: &str) -> Result<AccountId, CodeError> {
        let code: EmailCode = code.parse().map_err(|_| CodeError::Invalid)?;
        let found = store::find_owner(&mut *self.pool.acquire().await?, &code.digest(purpose)).await?;
        match found.ok_or(CodeError::Invalid)? {
            (owner, true) => Ok(owner),
            (_, false) => Err(CodeError::Expired),
        }
    }

    /// Forgets codes that expired some time ago; gives their number. Until then their owners hear that they came too late.
    pub async fn delete_expired_codes(&self) -> sqlx::Result<u64> {
        let mut deleted = 0;
        loop {
            let batch = store::delete_expired(&mut *self.pool.acquire().await?, FORGOTTEN).await?;
            deleted += batch;
            if batch < u64::from(FORGOTTEN) {
                return Ok(deleted);
            }
        }
    }
}

/// As [`Accounts::request_code`], in the caller's transaction.
pub async fn request_code(conn: &mut PgConnection, request: &SendCode) -> sqlx::Result<()> {
    let code = EmailCode::generate();
    if store::upsert(conn, request, &code).await? {
        jobs::enqueue(conn, request).await?;
    }
    Ok(())
}

/// As [`Accounts::consume_code`], in the caller's transaction: if that comes to nothing, the code stays good.
pub async fn consume_code(
    conn: &mut PgConnection,
    account: AccountId,
    purpose: CodePurpose,
    code: &str,
) -> Result<(), CodeError> {
    let code: EmailCode = code.parse().map_err(|_| CodeError::Invalid)?;
    match store::consume(conn, account, &code.digest(purpose)).await? {
        store::Consumption::Used => Ok(()),
        store::Consumption::TooLate => Err(CodeError::Expired),
        store::Consumption::Unknown => Err(CodeError::Invalid),
    }
}

/// Takes back every code of an account, in the caller's transaction: its mail goes elsewhere now, or whoever asked for them
/// is to be shut out.
pub async fn revoke_codes(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    store::delete_all(conn, account).await
}
