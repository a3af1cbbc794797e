//! Where a user can be reached, and what moderators write to them.

use atproto::syntax::Did;
use serde_json::json;

use super::Administration;
use crate::account::{self, ChangeEmailError, EmailAddress, SendModerationMail};
use crate::audit::{self, Act, Action, Actor, Subject};
use crate::jobs::enqueue;

/// What is written. The texts have no NUL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The subject line; a general one if there is none.
    pub subject: Option<String>,
    /// The message: HTML, as the moderator wrote it.
    pub html: String,
    /// Why; for the audit log only.
    pub comment: Option<String>,
}

/// Why a message was not sent. The text is what the wire shows.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// There is no such account.
    #[error("Recipient not found")]
    NotFound,
    /// The account has no e-mail address.
    #[error("account does not have an email address")]
    NoAddress,
    /// Postgres failed.
    #[error("message storage failed")]
    Storage(#[from] sqlx::Error),
}

impl Administration {
    /// Gives an account an e-mail address, which its owner has to confirm again. One it has already has to be confirmed
    /// again as well.
    pub async fn update_email(&self, actor: &Actor, did: &Did, email: &EmailAddress) -> Result<(), ChangeEmailError> {
        let account = self.accounts.find_by_did(did).await?.ok_or(ChangeEmailError::AccountNotFound)?;
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        let stored = account::lock_email(&mut transaction, account.id).await?;
        let stored = stored.ok_or(ChangeEmailError::AccountNotFound)?;
        account::set_email(&mut transaction, account.id, email).await?;
        let act = Act::new(actor.clone(), Action::UpdateEmail, Subject::Account(did.clone()))
            .from(json!({ "email": stored.address, "confirmed": stored.is_confirmed }))
            .to(json!({ "email": email.as_str(), "confirmed": false }));
        audit::record(&mut transaction, &act).await?;
        Ok(transaction.commit().await?)
    }

    /// Has a message mailed to an account's owner, whatever state the account is in. A worker sends it soon.
    pub async fn send_message(&self, actor: &Actor, did: &Did, message: Message) -> Result<(), MessageError> {
        let account = self.accounts.find_by_did(did).await?.ok_or(MessageError::NotFound)?;
        account.email.ok_or(MessageError::NoAddress)?;
        let job = SendModerationMail::new(did.clone(), message.subject, message.html);
        let after = json!({ "subject": job.subject, "comment": message.comment });
        let act = Act::new(actor.clone(), Action::SendEmail, Subject::Account(did.clone())).to(after);
        let mut conn = self.pool.acquire().await?;
        let mut transaction = conn.begin().await?;
        enqueue(&mut transaction, &job).await?;
        audit::record(&mut transaction, &act).await?;
        Ok(transaction.commit().await?)
    }
}
