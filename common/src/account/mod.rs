//! Accounts: one row is the whole state of an account.
//!
//! Tables: `account`, `invite_code`, `invite_code_use`, `app_password` and `email_token`. Accounts and uses of codes are made
//! by `common::lifecycle`, in the statement that creates the account.
//!
//! Whoever needs the row of an account and others that hang on it locks the account first.

mod app_password;
mod code;
mod email;
mod email_change;
mod find;
mod invite;
pub mod jobs;
mod login;
mod moderation_mail;
mod password;
mod registry;
#[cfg(test)]
mod scene;
mod store;

use atproto::syntax::{Did, Handle};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub use crate::db::AccountId;
pub use app_password::{
    AppPassword, AppPasswordText, CreateAppPasswordError, MAX_APP_PASSWORD_NAME, MAX_APP_PASSWORDS,
};
pub use code::{
    CODE_LIFETIME, CodeError, CodeMail, EmailCode, EmailCodeError, consume_code, request_code, revoke_codes,
};
pub use email::{EmailAddress, EmailAddressError, EmailRefused, EmailRules};
pub use email_change::{ChangeEmailError, ConfirmEmailError, StoredEmail, lock_email, set_email};
pub use find::{Accounts, Principal};
pub use invite::{
    AccountInvites, Invite, InviteError, InviteOrder, InvitePlace, InviteUse, Invites, MAX_CODES, MAX_USES, NewInvites,
    OPERATOR,
};
pub use jobs::{CodePurpose, SendCode};
pub use login::{Credential, LoginError, SignIn};
pub use moderation_mail::SendModerationMail;
pub use password::{
    MAX_LOGIN_PASSWORD_CHARS, MAX_NEW_PASSWORD_CHARS, PasswordError, PasswordHash, PasswordHashError, Passwords,
};
pub use registry::{AccountDetails, Found, Search, SearchError};

/// An account's row, without its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its number inside the database.
    pub id: AccountId,
    /// Its DID.
    pub did: Did,
    /// Its handle; `None` if another account took it over.
    pub handle: Option<Handle>,
    /// Its e-mail address in lower case, as it was stored. `None` if an entryway keeps it.
    pub email: Option<String>,
    /// When its owner proved to read mail at that address.
    pub email_confirmed_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Whether the public, its owner, or only a moderator may use it.
    pub status: AccountStatus,
}

impl Account {
    /// The handle as the wire shows it: `handle.invalid` where there is none.
    pub fn shown_handle(&self) -> &str {
        self.handle.as_ref().map_or(Handle::INVALID, Handle::as_str)
    }
}

/// What may be done with an account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AccountStatus {
    /// Everything.
    Active,
    /// Closed by its owner, who may still sign in and open it again.
    Deactivated,
    /// Closed by a moderator. Wins over deactivated.
    Takendown,
}

impl AccountStatus {
    fn from_marks(taken_down: bool, deactivated: bool) -> Self {
        match (taken_down, deactivated) {
            (true, _) => Self::Takendown,
            (false, true) => Self::Deactivated,
            (false, false) => Self::Active,
        }
    }

    /// True if everybody may read the account's repo.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }

    /// The name that events and answers give as `status`; an active account has none.
    pub fn wire_name(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Deactivated => Some("deactivated"),
            Self::Takendown => Some("takendown"),
        }
    }
}

/// Locks an account until the caller's transaction ends, also against sessions that are being opened; false if it is gone.
pub(crate) async fn lock_account(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<bool> {
    store::lock(conn, account).await
}

/// Gives a locked account another main password.
pub(crate) async fn set_password(conn: &mut PgConnection, account: AccountId, hash: &PasswordHash) -> sqlx::Result<()> {
    store::update_password(conn, account, hash).await
}

#[cfg(test)]
mod tests {
    use super::AccountStatus;

    #[test]
    fn a_takedown_wins_over_a_deactivation() {
        assert_eq!(AccountStatus::from_marks(false, false).wire_name(), None);
        assert_eq!(AccountStatus::from_marks(false, true).wire_name(), Some("deactivated"));
        assert_eq!(AccountStatus::from_marks(true, false).wire_name(), Some("takendown"));
        assert_eq!(AccountStatus::from_marks(true, true).wire_name(), Some("takendown"));
    }
}
