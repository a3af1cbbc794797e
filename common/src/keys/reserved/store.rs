//! All SQL of reserved keys.

use std::time::Duration;

use atproto::crypto::PublicKey;
use atproto::syntax::Did;
use sqlx::PgConnection;

use crate::db::TextColumn;
use crate::keys::store::{Resealed, Stored};
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

/// How many keys there are.
pub(super) async fn count(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM reserved_signing_key"#).fetch_one(conn).await?;
    Ok(count.try_into().unwrap_or(0))
}

/// Deletes keys that were asked for so long ago, the oldest first, at most `limit`; gives how many. What somebody is asking
/// for or using up is left alone.
pub(super) async fn delete_stale(conn: &mut PgConnection, age: Duration, limit: u16) -> sqlx::Result<u64> {
    let query = sqlx::query!(
        r#"
            DELETE FROM reserved_signing_key
            WHERE did IN (
                SELECT did
                FROM reserved_signing_key
                WHERE created_at <= clock_timestamp() - make_interval(secs => $1)
                ORDER BY created_at
                LIMIT $2
                FOR UPDATE SKIP LOCKED
            )
        "#,
        age.as_secs_f64(),
        i64::from(limit),
    );
    Ok(query.execute(conn).await?.rows_affected())
}

/// Deletes so many keys, those for nobody in particular before those for a DID, and the oldest of each first; gives how
/// many. What somebody is asking for or using up is left alone.
pub(super) async fn delete_excess(conn: &mut PgConnection, limit: u16) -> sqlx::Result<u64> {
    let query = sqlx::query!(
        r#"
            DELETE FROM reserved_signing_key
            WHERE did IN (
                SELECT did
                FROM reserved_signing_key
                -- One for nobody is kept under its own name.
                ORDER BY did <> public_key, created_at
                LIMIT $1
                FOR UPDATE SKIP LOCKED
            )
        "#,
        i64::from(limit),
    );
    Ok(query.execute(conn).await?.rows_affected())
}

/// The next keys, by the DIDs they are for.
pub(in crate::keys) async fn list_sealed(
    conn: &mut PgConnection,
    after: Option<&Did>,
    limit: u16,
) -> sqlx::Result<Vec<Stored<Did>>> {
    let rows = sqlx::query!(
        r#"
            SELECT did AS "did: TextColumn<Did>", kek_id, sealed
            FROM reserved_signing_key
            WHERE did > $1
            ORDER BY did
            LIMIT $2
        "#,
        after.map(Did::as_str).unwrap_or_default(),
        i64::from(limit),
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| Stored {
        row: row.did.0.clone(),
        did: row.did.0,
        sealed: SealedKey { key_id: KeyId::new(&row.kek_id), bytes: row.sealed },
    });
    Ok(rows.collect())
}

/// How many of the next keys each key-encryption key has sealed, and the last one's DID; `None` if there are no more.
pub(in crate::keys) async fn count_sealed(
    conn: &mut PgConnection,
    after: Option<&Did>,
    limit: u16,
) -> sqlx::Result<Option<(Did, Vec<(KeyId, i64)>)>> {
    let rows = sqlx::query!(
        r#"
            SELECT kek_id, count(*) AS "keys!", max(did) AS "last!: TextColumn<Did>"
            FROM (SELECT did, kek_id FROM reserved_signing_key WHERE did > $1 ORDER BY did LIMIT $2) AS page
            GROUP BY kek_id
        "#,
        after.map(Did::as_str).unwrap_or_default(),
        i64::from(limit),
    );
    let (mut last, mut counts) = (None, Vec::new());
    for row in rows.fetch_all(conn).await? {
        last = last.max(Some(row.last.0));
        counts.push((KeyId::new(&row.kek_id), row.keys));
    }
    Ok(last.map(|last| (last, counts)))
}

/// Puts the new seals in the place of the old ones, where those are still there; tells how many were.
pub(in crate::keys) async fn update_sealed(
    conn: &mut PgConnection,
    current: &KeyId,
    keys: &Resealed<Did>,
) -> sqlx::Result<u64> {
    let dids: Vec<String> = keys.rows.iter().map(ToString::to_string).collect();
    let done = sqlx::query!(
        r#"
            UPDATE reserved_signing_key k
            SET kek_id = $1, sealed = n.after
            FROM unnest($2::text[], $3::bytea[], $4::bytea[]) AS n (did, before, after)
            WHERE k.did = n.did AND k.sealed = n.before
        "#,
        current.as_str(),
        &dids,
        &keys.before,
        &keys.after,
    );
    Ok(done.execute(conn).await?.rows_affected())
}
