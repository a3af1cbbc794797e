//! Confirming an account's e-mail address, and changing it.

use sqlx::PgConnection;

use super::code::{CodeError, consume_code, revoke_codes};
use super::jobs::CodePurpose;
use super::{AccountId, Accounts, EmailAddress, store};
use crate::db;

/// Why an address is not confirmed. Except for storage the texts are what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmEmailError {
    /// The account is gone.
    #[error("Account not found")]
    AccountNotFound,
    /// It is not the account's address.
    #[error("Email does not match the account's email")]
    OtherEmail,
    /// The code does not do.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
}

/// Why an address is not changed. Except for storage the texts are what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum ChangeEmailError {
    /// The account is gone.
    #[error("Account not found")]
    AccountNotFound,
    /// The present address is confirmed, so a code sent there is needed.
    #[error("A token is required: the present email is confirmed")]
    TokenRequired,
    /// The code does not do.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// Another account has the address.
    #[error("This email address is already in use, please use a different email.")]
    Taken,
    /// Postgres failed.
    #[error("account storage failed")]
    Storage(#[from] sqlx::Error),
}

/// An account's address, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEmail {
    /// The address; `None` if an entryway keeps it.
    pub address: Option<String>,
    /// Whether its owner proved to read mail there.
    pub is_confirmed: bool,
}

impl Accounts {
    /// Marks the account's address as confirmed, with the code that was sent there. Letters of `email` match in either
    /// case.
    pub async fn confirm_email(&self, account: AccountId, email: &str, code: &str) -> Result<(), ConfirmEmailError> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let stored = store::lock_email(&mut transaction, account).await?.ok_or(ConfirmEmailError::AccountNotFound)?;
        if !stored.address.is_some_and(|stored| stored.eq_ignore_ascii_case(email)) {
            return Err(ConfirmEmailError::OtherEmail);
        }
        consume_code(&mut transaction, account, CodePurpose::ConfirmEmail, code).await?;
        store::confirm_email(&mut transaction, account).await?;
        Ok(transaction.commit().await?)
    }

    /// Gives the account another address at its owner's wish. If the present one is confirmed, that takes the code sent
    /// there. A code that is given must be good in any case: of several who use one at once, one succeeds.
    pub async fn change_email(
        &self,
        account: AccountId,
        email: &EmailAddress,
        code: Option<&str>,
    ) -> Result<(), ChangeEmailError> {
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let stored = store::lock_email(&mut transaction, account).await?.ok_or(ChangeEmailError::AccountNotFound)?;
        match code {
            Some(code) => consume_code(&mut transaction, account, CodePurpose::UpdateEmail, code).await?,
            None if stored.is_confirmed => return Err(ChangeEmailError::TokenRequired),
            None => {}
        }
        set_email(&mut transaction, account, email).await?;
        Ok(transaction.commit().await?)
    }
}

/// The account's address, which nobody else changes before the caller's transaction ends; `None` if the account is gone.
pub async fn lock_email(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<StoredEmail>> {
    store::lock_email(conn, account).await
}

/// Gives the account another address, which is not confirmed. Codes sent to the one before are void.
///
/// # Errors
/// [`ChangeEmailError::AccountNotFound`], [`ChangeEmailError::Taken`] or [`ChangeEmailError::Storage`]; the transaction
/// cannot go on after the last two.
pub async fn set_email(
    conn: &mut PgConnection,
    account: AccountId,
    email: &EmailAddress,
) -> Result<(), ChangeEmailError> {
    match store::update_email(conn, account, email).await {
        Ok(true) => Ok(revoke_codes(conn, account).await?),
        Ok(false) => Err(ChangeEmailError::AccountNotFound),
        Err(error) if db::violates(&error, "account_email_key") => Err(ChangeEmailError::Taken),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::account::SendCode;
    use crate::account::scene::{World, world};
    use crate::testing::seed;

    impl World {
        async fn code(&self, purpose: CodePurpose) -> String {
            self.accounts.request_code(&SendCode { did: self.did.clone(), purpose, locale: None }).await.unwrap();
            self.accounts.find_code(&self.did, purpose).await.unwrap().unwrap().code.as_str().to_owned()
        }

        async fn confirm(&self) {
            let code = self.code(CodePurpose::ConfirmEmail).await;
            self.accounts.confirm_email(self.alice, "Alice@Mail.Test", &code).await.unwrap();
        }

        async fn change(&self, email: &str, code: Option<&str>) -> Result<(), ChangeEmailError> {
            self.accounts.change_email(self.alice, &email.parse().unwrap(), code).await
        }
    }

    #[tokio::test]
    async fn an_address_is_confirmed_with_its_code() {
        let world = world().await;
        let code = world.code(CodePurpose::ConfirmEmail).await;
        let other = world.accounts.confirm_email(world.alice, "bob@mail.test", &code).await;
        assert!(matches!(other, Err(ConfirmEmailError::OtherEmail)), "{other:?}");
        let wrong = world.accounts.confirm_email(world.alice, "alice@mail.test", "AAAAA-AAAAA").await;
        assert!(matches!(wrong, Err(ConfirmEmailError::Code(CodeError::Invalid))), "{wrong:?}");
        assert_eq!(world.account().await.email_confirmed_at, None);
        world.confirm().await;
        assert!(world.account().await.email_confirmed_at.is_some());
    }

    #[tokio::test]
    async fn an_address_that_is_not_confirmed_is_changed_without_code() {
        let world = world().await;
        let old = world.code(CodePurpose::ConfirmEmail).await;
        world.change("New@mail.test", None).await.unwrap();
        assert_eq!(world.account().await.email.as_deref(), Some("new@mail.test"));
        let void = world.accounts.confirm_email(world.alice, "new@mail.test", &old).await;
        assert!(matches!(void, Err(ConfirmEmailError::Code(CodeError::Invalid))), "that went to the old one: {void:?}");
    }

    #[tokio::test]
    async fn a_confirmed_address_is_changed_with_a_code_only() {
        let world = world().await;
        world.confirm().await;
        let without = world.change("new@mail.test", None).await;
        assert!(matches!(without, Err(ChangeEmailError::TokenRequired)), "{without:?}");
        let code = world.code(CodePurpose::UpdateEmail).await;
        let wrong = world.change("new@mail.test", Some("AAAAA-AAAAA")).await;
        assert!(matches!(wrong, Err(ChangeEmailError::Code(CodeError::Invalid))), "{wrong:?}");
        seed::account(&world.db.pool(), "bob.test").await;
        let taken = world.change("Bob@mail.test", Some(&code)).await;
        assert!(matches!(taken, Err(ChangeEmailError::Taken)), "{taken:?}");
        world.change("new@mail.test", Some(&code)).await.unwrap();
        let account = world.account().await;
        assert_eq!((account.email.as_deref(), account.email_confirmed_at), (Some("new@mail.test"), None));
    }

    #[tokio::test]
    async fn an_account_that_is_gone_is_not_found() {
        let world = world().await;
        let code = world.code(CodePurpose::ConfirmEmail).await;
        seed::delete_account(&world.db.pool(), world.did.as_str()).await;
        let confirmed = world.accounts.confirm_email(world.alice, "alice@mail.test", &code).await;
        assert!(matches!(confirmed, Err(ConfirmEmailError::AccountNotFound)), "{confirmed:?}");
        let changed = world.change("new@mail.test", None).await;
        assert!(matches!(changed, Err(ChangeEmailError::AccountNotFound)), "{changed:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_code_changes_the_address_once_on_two_replicas() {
        let world = world().await;
        world.confirm().await;
        let code = world.code(CodePurpose::UpdateEmail).await;
        let replicas = [world.accounts.clone(), Accounts::new(world.db.other_pool())];
        let addresses: Vec<EmailAddress> = (0..8).map(|n| format!("new{n}@mail.test").parse().unwrap()).collect();
        let tries = addresses.iter().enumerate().map(|(n, email)| {
            let (replica, code) = (&replicas[n % 2], Some(code.as_str()));
            async move { replica.change_email(world.alice, email, code).await }
        });
        let results = join_all(tries).await;
        let is_loser =
            |result: &Result<(), ChangeEmailError>| matches!(result, Err(ChangeEmailError::Code(CodeError::Invalid)));
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(results.iter().all(|result| result.is_ok() || is_loser(result)), "{results:?}");
    }
}
