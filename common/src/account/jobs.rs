//! What accounts ask of the worker.

use std::fmt;

use atproto::syntax::Did;
use serde::{Deserialize, Serialize};

/// Mails the current code for `purpose`.
///
/// The code itself is not in it: whoever mails it asks [`Accounts::find_code`](super::Accounts::find_code), which gives
/// none once the code was used, replaced or has expired.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SendCode {
    /// The account.
    pub did: Did,
    /// What the code is good for.
    pub purpose: CodePurpose,
    /// The language tag that the caller likes best, as `de` or `pt-BR`, if the request said so.
    pub locale: Option<String>,
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

    #[test]
    fn purposes_have_one_name_everywhere() {
        for purpose in CodePurpose::ALL {
            assert_eq!(serde_json::to_value(purpose).unwrap(), purpose.as_str());
        }
    }
}
