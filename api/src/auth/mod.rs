//! Who is calling.
//!
//! [`tokens`](SessionTokens) signs and reads the JWTs of password sessions; the other files are extractors, one for each
//! kind of caller that methods accept. All but [`Checked`], [`Active`] and [`UploaderAuth`] check credentials only: what state the account is
//! in, and whether the caller may do what it asks, the handler decides.

mod access;
mod admin;
mod even_time;
mod header;
mod moderator;
mod reader;
mod refresh;
mod restricted;
mod service;
mod standing;
mod tokens;

pub use access::{AccessAuth, FullAuth, FullLeavingAuth, LeavingAuth, SessionAuth};
pub use admin::AdminAuth;
pub use even_time::EvenTime;
pub use moderator::ModeratorAuth;
pub use reader::{ReaderAuth, TakeoutAuth};
pub use refresh::{EndedAuth, RefreshAuth};
pub use restricted::{is_privileged, is_protected};
pub use service::{ModerationServiceAuth, OptionalServiceAuth, UploaderAuth};
pub use standing::{Active, Checked, account_deactivated, account_not_found, account_taken_down};
pub use tokens::{AccessScope, AccessToken, SessionTokens, TokenError};
