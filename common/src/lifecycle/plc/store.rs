//! All SQL of changes to DIDs.

use sqlx::PgConnection;

use crate::db::AccountId;

/// Appends an `#identity` event of an account; its seq, or `None` if the account is gone.
pub(super) async fn announce_identity(
    conn: &mut PgConnection,
    account: AccountId,
    body: &[u8],
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("SELECT identity_announce_v1($1, $2)", account.get(), body).fetch_one(conn).await
}
