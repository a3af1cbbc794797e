//! Mails with a code.

use std::time::Duration;

use atproto::syntax::Handle;
use common::account::{CODE_LIFETIME, SendCode};

use super::delivery::outcome;
use crate::mail::Code;
use crate::runner::{Context, JobError, Run};

impl Run for SendCode {
    /// Longer than all steps of a delivery may take together: who is cut off after the server took the mail sends it again.
    const LIMIT: Duration = Duration::from_mins(5);

    /// Looks the code up: one that was used, replaced or has expired since is not mailed. Run twice, it sends the same mail
    /// with the same id.
    async fn run(&self, context: &Context) -> Result<(), JobError> {
        let found = context.accounts.find_code(&self.did, self.purpose).await.map_err(JobError::retry)?;
        let Some(found) = found else {
            tracing::info!(purpose = %self.purpose, "the code is good no longer: nothing to mail");
            return Ok(());
        };
        let code = Code {
            purpose: self.purpose,
            code: found.code.as_str(),
            minutes: CODE_LIFETIME.as_secs() / 60,
            expires_at: found.expires_at,
            to: &found.email,
            handle: found.handle.as_ref().map_or(Handle::INVALID, Handle::as_str),
        };
        let mail = context.mailer.write_code(&code, self.locale.as_deref()).map_err(JobError::GiveUp)?;
        outcome(context.mailer.send(&mail).await)
    }
}
