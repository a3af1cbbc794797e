//! Mails of moderators.

use std::time::Duration;

use common::account::SendModerationMail;

use super::delivery::outcome;
use crate::mail::Mail;
use crate::runner::{Context, JobError, Run};

impl Run for SendModerationMail {
    /// Longer than all steps of a delivery may take together: who is cut off after the server took the mail sends it again.
    const LIMIT: Duration = Duration::from_mins(5);

    /// Run twice, it sends the same mail with the same id.
    async fn run(&self, context: &Context) -> Result<(), JobError> {
        let account = context.accounts.find_by_did(&self.did).await.map_err(JobError::retry)?;
        let Some(email) = account.and_then(|account| account.email) else { return Ok(()) };
        let html = self.content.clone();
        let mail = Mail::from_moderator(email, self.subject.clone(), html, self.number.to_string());
        outcome(context.mailer.send(&mail).await)
    }
}
