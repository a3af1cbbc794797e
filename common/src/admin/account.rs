//! Making, closing, opening and deleting accounts.

use atproto::syntax::Did;
use secrecy::SecretString;

use super::Administration;
use crate::account::{self, AccountStatus};
use crate::audit::{self, Act, Action, Actor, Subject};
use crate::lifecycle::{
    self, CreateAccountError, CreatedAccount, NewAccount, SetPasswordError, StatusChange, StatusError,
};

impl Administration {
    /// Makes an account: without an invitation, also where sign-up is closed, and with a handle that is kept back.
    pub async fn create_account(&self, actor: &Actor, new: NewAccount) -> Result<CreatedAccount, CreateAccountError> {
        self.lifecycle.create_account(NewAccount { operator: Some(actor.clone()), ..new }).await
    }

    /// Takes an account down, closes it as its owner could, or the other way round. Gives the status that it then has.
    pub async fn change_status(
        &self,
        actor: &Actor,
        did: &Did,
        change: &StatusChange,
    ) -> Result<AccountStatus, StatusError> {
        self.lifecycle.change_status(actor, did, change).await
    }

    /// Deletes an account; false if there is none.
    pub async fn delete(&self, actor: &Actor, did: &Did) -> sqlx::Result<bool> {
        self.lifecycle.delete(did, Some(actor)).await
    }

    /// Gives an account another main password, ends its sessions, and takes back the codes that were mailed for it.
    /// `password` is not noted anywhere.
    pub async fn update_password(
        &self,
        actor: &Actor,
        did: &Did,
        password: SecretString,
    ) -> Result<(), SetPasswordError> {
        lifecycle::check_new_password(&password)?;
        let account = self.accounts.find_by_did(did).await?.ok_or(SetPasswordError::AccountNotFound)?;
        let hash = self.accounts.passwords().hash(password).await?;
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        lifecycle::set_password(&mut transaction, account.id, &hash).await?;
        account::revoke_codes(&mut transaction, account.id).await?;
        let act = Act::new(actor.clone(), Action::UpdatePassword, Subject::Account(did.clone()));
        audit::record(&mut transaction, &act).await?;
        Ok(transaction.commit().await?)
    }
}
