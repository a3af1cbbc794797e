//! The SQL of bytes that are going.

use atproto::syntax::Did;
use sqlx::PgConnection;

use super::Doomed;
use crate::db::{CidColumn, TextColumn};

/// Forgets deletions, before their bytes went, of what an account has again.
pub(super) async fn delete_revived(conn: &mut PgConnection) -> sqlx::Result<()> {
    let query = sqlx::query!(
        r#"
            DELETE FROM blob_deletion d
            WHERE d.deleted_at IS NULL AND d.created_at < clock_timestamp() - interval '3 minutes'
                AND EXISTS (
                    SELECT FROM account a JOIN blob b ON b.account_id = a.id WHERE a.did = d.did AND b.cid = d.cid
                )
        "#,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Blobs whose bytes may go now, the first given up first.
pub(super) async fn list_doomed(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Doomed>> {
    let rows = sqlx::query!(
        r#"
            SELECT
                d.did AS "did: TextColumn<Did>", d.cid AS "cid: CidColumn", d.created_at,
                statement_timestamp() AS "looked_at!"
            FROM blob_deletion d
            WHERE d.deleted_at IS NULL AND d.created_at < clock_timestamp() - interval '3 minutes'
                AND NOT EXISTS (
                    SELECT FROM account a JOIN blob b ON b.account_id = a.id WHERE a.did = d.did AND b.cid = d.cid
                )
            ORDER BY d.created_at
            LIMIT $1
        "#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let doomed = rows.into_iter().map(|row| Doomed {
        did: row.did.0,
        cid: row.cid.0,
        created_at: row.created_at,
        looked_at: row.looked_at,
    });
    Ok(doomed.collect())
}

/// Notes that the bytes of a blob are gone, unless it was given up once more meanwhile.
pub(super) async fn update_deleted(conn: &mut PgConnection, blob: &Doomed) -> sqlx::Result<()> {
    let query = sqlx::query!(
        "UPDATE blob_deletion SET deleted_at = clock_timestamp() WHERE did = $1 AND cid = $2 AND created_at = $3",
        blob.did.as_str(),
        blob.cid.as_bytes(),
        blob.created_at,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Puts a blob whose bytes the store did not delete behind the others.
pub(super) async fn postpone(conn: &mut PgConnection, blob: &Doomed) -> sqlx::Result<()> {
    let query = sqlx::query!(
        "UPDATE blob_deletion SET created_at = clock_timestamp() WHERE did = $1 AND cid = $2 AND created_at = $3",
        blob.did.as_str(),
        blob.cid.as_bytes(),
        blob.created_at,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Forgets deletions that are done for good.
pub(super) async fn delete_done(conn: &mut PgConnection) -> sqlx::Result<()> {
    let query = sqlx::query!("DELETE FROM blob_deletion WHERE deleted_at < clock_timestamp() - interval '10 minutes'");
    query.execute(conn).await?;
    Ok(())
}
