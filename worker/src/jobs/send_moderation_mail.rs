//! Mails of moderators.

use common::account::SendModerationMail;

use super::delivery::outcome;
use crate::mail::Mail;
use crate::runner::{Context, JobError, Run};

impl Run for SendModerationMail {
    /// Run twice, it sends the same mail with the same id.
    async fn run(&self, context: &Context) -> Result<(), JobError> {
        let account = context.accounts.find_by_did(&self.did).await.map_err(JobError::retry)?;
        let Some(email) = account.and_then(|account| account.email) else { return Ok(()) };
        let html = self.content.clone();
        let mail = Mail::from_moderator(email, self.subject.clone(), html, self.number.to_string());
        outcome(context.mailer.send(&mail).await)
    }
}
