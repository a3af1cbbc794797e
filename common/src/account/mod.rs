//! Accounts: one row is the whole state of one account.
//!
//! Tables: `account`.

pub use crate::db::AccountId;
