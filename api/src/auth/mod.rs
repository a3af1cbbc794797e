//! Who is calling.
//!
//! [`tokens`](SessionTokens) signs and reads the JWTs of password sessions; the other files are extractors, one for each
//! kind of caller that methods accept. An extractor checks credentials only: what state the account is in, and whether the
//! caller may do what it asks, the handler decides.

mod access;
mod admin;
mod header;
mod reader;
mod refresh;
mod tokens;

pub use access::{AccessAuth, FullAuth};
pub use admin::AdminAuth;
pub use reader::{ReaderAuth, TakeoutAuth};
pub use refresh::{EndedAuth, RefreshAuth};
pub use tokens::{AccessScope, AccessToken, SessionTokens, TokenError};
