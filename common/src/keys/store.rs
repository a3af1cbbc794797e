//! All SQL of signing keys.

use sqlx::PgConnection;

use super::{KeyId, SealedKey};
use crate::db::AccountId;

pub(super) async fn find(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<SealedKey>> {
    let row = sqlx::query!("SELECT kek_id, sealed FROM signing_key WHERE account_id = $1", account.get())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| SealedKey { key_id: KeyId::new(&row.kek_id), bytes: row.sealed }))
}
