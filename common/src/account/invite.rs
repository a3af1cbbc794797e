//! Invitation codes.

use super::{Accounts, store};

impl Accounts {
    /// True if a sign-up may use this code now. Two sign-ups can both be told so of the last use; the statement that creates
    /// the account counts again under a lock, and is what decides.
    pub async fn is_usable_invite(&self, code: &str) -> sqlx::Result<bool> {
        // Text in Postgres has no NUL, so no code does.
        if code.contains('\0') {
            return Ok(false);
        }
        store::is_usable_invite(&mut *self.pool.acquire().await?, code).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestDb, seed};

    #[tokio::test]
    async fn a_code_is_usable_until_something_speaks_against_it() {
        let db = TestDb::create().await;
        let pool = db.pool();
        let accounts = Accounts::new(pool.clone());
        let is_usable = async |code: &str| accounts.is_usable_invite(code).await.unwrap();
        assert!(!is_usable("unknown").await);
        assert!(!is_usable("NUL\0").await);

        seed::invite_code(&pool, "twice", 2).await;
        seed::use_invite(&pool, "twice", seed::account(&pool, "alice.test").await).await;
        assert!(is_usable("twice").await);
        seed::use_invite(&pool, "twice", seed::account(&pool, "bob.test").await).await;
        assert!(!is_usable("twice").await);

        seed::invite_code(&pool, "disabled", 1).await;
        assert!(is_usable("disabled").await);
        seed::disable_invite(&pool, "disabled").await;
        assert!(!is_usable("disabled").await);

        seed::invite_code(&pool, "of-carol", 1).await;
        seed::account(&pool, "carol.test").await;
        seed::give_invite(&pool, "of-carol", &seed::did_of("carol.test")).await;
        assert!(is_usable("of-carol").await);
        seed::set_taken_down(&pool, &seed::did_of("carol.test"), true).await;
        assert!(!is_usable("of-carol").await);
    }
}
