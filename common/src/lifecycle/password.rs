//! A new main password, which ends all sessions.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgConnection;

use super::Lifecycle;
use crate::account::{self, AccountId, CodeError, CodePurpose, MAX_NEW_PASSWORD_CHARS, PasswordError, PasswordHash};
use crate::session;

/// Why there is no new password. The texts of the first three are what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum SetPasswordError {
    /// It is empty, or longer than [`MAX_NEW_PASSWORD_CHARS`].
    #[error("Invalid password length.")]
    Length,
    /// The code does not do.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The account is gone.
    #[error("Account not found")]
    AccountNotFound,
    /// It was not hashed.
    #[error(transparent)]
    Hash(#[from] PasswordError),
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Lifecycle {
    /// Sets the password of whoever has the code of a mail. Of several who use one code at once, one succeeds.
    ///
    /// App passwords stay: they were made on purpose, and whoever lost the main password would lose all apps too. Their
    /// sessions end like all others, and are opened again by the apps.
    pub async fn reset_password(&self, code: &str, password: SecretString) -> Result<(), SetPasswordError> {
        check_new_password(&password)?;
        let services = &self.0.services;
        // Before anything is hashed: that is work, and anybody may ask for it.
        let account = services.accounts.find_code_owner(CodePurpose::ResetPassword, code).await?;
        let hash = services.accounts.passwords().hash(password).await?;
        let mut conn = services.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        // The account comes first, as with all who need its row and others that hang on it.
        set_password(&mut transaction, account, &hash).await?;
        account::consume_code(&mut transaction, account, CodePurpose::ResetPassword, code).await?;
        Ok(transaction.commit().await?)
    }
}

/// Gives an account another password and ends its sessions, in the caller's transaction.
///
/// # Errors
/// [`SetPasswordError::AccountNotFound`] or [`SetPasswordError::Storage`].
pub async fn set_password(
    conn: &mut PgConnection,
    account: AccountId,
    hash: &PasswordHash,
) -> Result<(), SetPasswordError> {
    if !account::lock_account(conn, account).await? {
        return Err(SetPasswordError::AccountNotFound);
    }
    account::set_password(conn, account, hash).await?;
    Ok(session::end_all(conn, account).await?)
}

/// Refuses passwords that are too short or too long, before they are hashed.
///
/// # Errors
/// [`SetPasswordError::Length`].
pub fn check_new_password(password: &SecretString) -> Result<(), SetPasswordError> {
    let chars = password.expose_secret().chars().count();
    if (1..=MAX_NEW_PASSWORD_CHARS).contains(&chars) { Ok(()) } else { Err(SetPasswordError::Length) }
}
