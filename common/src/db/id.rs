//! The key that most tables share.

/// An account's number inside the database. DIDs stand at the edge only; this is what rows refer to each other by.
///
/// It is here rather than in `common::account` because lower ranks (keys) hang rows on accounts too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, sqlx::Type)]
#[sqlx(transparent)]
pub struct AccountId(i64);

impl AccountId {
    /// Takes the number as the database gave it.
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number, for a query's parameter.
    pub const fn get(self) -> i64 {
        self.0
    }
}
