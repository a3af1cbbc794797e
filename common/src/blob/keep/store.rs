//! The SQL of blobs that an operator keeps.

use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Quarantined;
use crate::blob::store::size_of;
use crate::db::CidColumn;

/// As [`super::super::Blobs::list_quarantined`].
pub(super) async fn list_quarantined(
    conn: &mut PgConnection,
    did: &Did,
    after: Option<Cid>,
    limit: u16,
) -> sqlx::Result<Vec<Quarantined>> {
    let rows = sqlx::query!(
        r#"
            SELECT cid AS "cid: CidColumn", size, delete_after AS "delete_after!"
            FROM blob
            WHERE account_id = (SELECT id FROM account WHERE did = $1) AND cid > coalesce($2::bytea, '')
                AND delete_after IS NOT NULL
            ORDER BY cid
            LIMIT $3
        "#,
        did.as_str(),
        after.map(CidColumn) as _,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    let blobs = rows
        .into_iter()
        .map(|row| Ok(Quarantined { cid: row.cid.0, size: size_of(row.size)?, delete_after: row.delete_after }));
    blobs.collect()
}

/// Takes a blob out of quarantine. Gives when it would have been given up; `None` if it is not there.
pub(super) async fn update_kept(conn: &mut PgConnection, did: &Did, cid: Cid) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"
            WITH old AS (
                SELECT account_id, cid, delete_after
                FROM blob
                WHERE account_id = (SELECT id FROM account WHERE did = $1) AND cid = $2 AND delete_after IS NOT NULL
                FOR UPDATE
            )
            UPDATE blob b
            SET delete_after = NULL, created_at = clock_timestamp()
            FROM old
            WHERE b.account_id = old.account_id AND b.cid = old.cid
            RETURNING old.delete_after AS "delete_after!"
        "#,
        did.as_str(),
        cid.as_bytes(),
    )
    .fetch_optional(conn)
    .await
}
