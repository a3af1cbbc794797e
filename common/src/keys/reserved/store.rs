//! All SQL of reserved keys.

use std::time::Duration;

use atproto::crypto::PublicKey;
use atproto::syntax::Did;
use sqlx::PgConnection;

use crate::db::TextColumn;
use crate::keys::{KeyId, SealedKey};

/// Stores a key for a DID, unless there is one, which then lasts as if it were new. Gives the key that is stored.
pub(super) async fn insert(
    conn: &mut PgConnection,
    did: &Did,
    key: &PublicKey,
    sealed: &SealedKey,
) -> sqlx::Result<PublicKey> {
    let stored = sqlx::query_scalar!(
        r#"
            INSERT INTO reserved_signing_key (did, public_key, kek_id, sealed) VALUES ($1, $2, $3, $4)
            ON CONFLICT (did) DO UPDATE SET created_at = clock_timestamp()
            RETURNING public_key AS "public_key: TextColumn<PublicKey>"
        "#,
        did.as_str(),
        key.to_string(),
        sealed.key_id.as_str(),
        sealed.bytes,
    );
    Ok(stored.fetch_one(conn).await?.0)
}

/// The sealed key of a DID.
pub(super) async fn find(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<SealedKey>> {
    let row = sqlx::query!("SELECT kek_id, sealed FROM reserved_signing_key WHERE did = $1", did.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| SealedKey { key_id: KeyId::new(&row.kek_id), bytes: row.sealed }))
}

/// Deletes what is older than `age`; gives how many.
pub(super) async fn delete_stale(conn: &mut PgConnection, age: Duration) -> sqlx::Result<u64> {
    let query = sqlx::query!(
        "DELETE FROM reserved_signing_key WHERE created_at < clock_timestamp() - make_interval(secs => $1)",
        age.as_secs_f64(),
    );
    Ok(query.execute(conn).await?.rows_affected())
}
