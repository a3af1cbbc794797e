//! `pds-worker mail …`.

mod test_mail;

use clap::Subcommand;

use super::Outcome;

/// Look after outgoing mail.
#[derive(Debug, Subcommand)]
pub enum MailCommand {
    /// Send a mail to try the set-up, and say how each step went.
    ///
    /// Checks the settings and templates, looks the server up, connects, encrypts, logs in, and hands a mail over: the same
    /// way as all mails. Stops at the first step that fails, says what the server said and what to look at. Needs only the
    /// settings of mail (`PDS_EMAIL_…`), and `PDS_HOSTNAME`.
    ///
    /// Exit code: 0 if the server took the mail, 1 if a step failed, 2 if the settings are bad.
    Test(test_mail::Arguments),
}

impl MailCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            Self::Test(arguments) => test_mail::run(&arguments).await,
        }
    }
}
