//! What accounts ask of the worker.

use std::fmt;
use std::time::Duration;

use atproto::syntax::Did;
use serde::{Deserialize, Serialize};

use crate::jobs::{Job, Policy};

/// Mails the current code for `purpose`. Enqueued in the transaction that stores the code.
///
/// The code itself is not in it: whoever mails it asks [`Accounts::find_code`](super::Accounts::find_code), which gives
/// none once the code was used, replaced or has expired.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SendCode {
    /// The account.
    pub did: Did,
    /// What the code is good for.
    pub purpose: CodePurpose,
    /// The language tags that the caller likes, the best first, as `pt-BR, pt, en`, if the request said so.
    pub locale: Option<String>,
}

impl Job for SendCode {
    const KIND: &'static str = "send_code";

    /// Until the code has expired; then there is nothing to mail, and the job is done. Soon after one another, because
    /// somebody waits for the mail.
    const POLICY: Policy =
        Policy { first_pause: Duration::from_secs(5), longest_pause: Duration::from_mins(1), tries: 30 };

    /// A newer code for the same purpose replaces the older one, so one mail is enough.
    fn dedupe_key(&self) -> Option<String> {
        Some(format!("{} {}", self.purpose, self.did))
    }
}

/// What a code sent by e-mail is good for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodePurpose {
    /// Showing that mail at the account's address is read.
    ConfirmEmail,
    /// Moving to another address. Goes to the present one.
    UpdateEmail,
    /// Setting a new password without the old one.
    ResetPassword,
    /// Deleting the account.
    DeleteAccount,
    /// Having a PLC operation signed.
    PlcOperation,
}

impl CodePurpose {
    /// Every purpose.
    pub const ALL: [Self; 5] =
        [Self::ConfirmEmail, Self::UpdateEmail, Self::ResetPassword, Self::DeleteAccount, Self::PlcOperation];

    /// The name in the database and in jobs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmEmail => "confirm_email",
            Self::UpdateEmail => "update_email",
            Self::ResetPassword => "reset_password",
            Self::DeleteAccount => "delete_account",
            Self::PlcOperation => "plc_operation",
        }
    }
}

impl fmt::Display for CodePurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::CODE_LIFETIME;

    #[test]
    fn purposes_have_one_name_everywhere() {
        for purpose in CodePurpose::ALL {
            assert_eq!(serde_json::to_value(purpose).unwrap(), purpose.as_str());
        }
    }

    #[test]
    fn a_mail_is_tried_for_as_long_as_its_code_is_good() {
        // With the shortest pauses that chance gives.
        let pauses = (1..).map_while(|failures| SendCode::POLICY.pause_after(failures, 0.0));
        assert!(pauses.sum::<Duration>() > CODE_LIFETIME);
    }

    #[test]
    fn one_mail_is_kept_for_each_account_and_purpose() {
        let job = |did: &str, purpose, locale: Option<&str>| {
            SendCode { did: did.parse().unwrap(), purpose, locale: locale.map(str::to_owned) }.dedupe_key()
        };
        let alice = job("did:plc:alice", CodePurpose::ConfirmEmail, None);
        assert_eq!(alice, job("did:plc:alice", CodePurpose::ConfirmEmail, Some("de")));
        assert_ne!(alice, job("did:plc:alice", CodePurpose::DeleteAccount, None));
        assert_ne!(alice, job("did:plc:bob", CodePurpose::ConfirmEmail, None));
    }
}
