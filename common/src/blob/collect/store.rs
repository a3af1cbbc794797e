//! The SQL of removing blobs.

use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use sqlx::PgConnection;

use super::Doomed;
use crate::db::{AccountId, CidColumn, TextColumn};

/// A blob that no record referred to when it was last looked at.
pub(super) struct Unused {
    account: AccountId,
    did: TextColumn<Did>,
    cid: CidColumn,
}

/// Locks uploads that are older than `ttl` and that no record is known to refer to, the oldest first. What others are at work
/// on is left out, and so is what is taken down: the mark keeps it from being uploaded again.
pub(super) async fn lock_unused(conn: &mut PgConnection, ttl: Duration, limit: i64) -> sqlx::Result<Vec<Unused>> {
    sqlx::query_as!(
        Unused,
        r#"
            SELECT b.account_id AS "account: AccountId", a.did AS "did: TextColumn<Did>", b.cid AS "cid: CidColumn"
            FROM blob b
            JOIN account a ON a.id = b.account_id
            WHERE b.state = 'temporary' AND b.takedown_ref IS NULL
                AND b.created_at < clock_timestamp() - make_interval(secs => $1)
            ORDER BY b.created_at
            LIMIT $2
            FOR UPDATE OF b SKIP LOCKED
        "#,
        ttl.as_secs_f64(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Marks those that a record refers to after all: an upload and an import passed each other by.
pub(super) async fn update_used(conn: &mut PgConnection, unused: &[Unused]) -> sqlx::Result<()> {
    let (accounts, cids) = keys(unused);
    let query = sqlx::query!(
        r#"
            UPDATE blob b
            SET state = 'permanent'
            FROM unnest($1::bigint[], $2::bytea[]) AS u (account_id, cid)
            WHERE b.account_id = u.account_id AND b.cid = u.cid
                AND EXISTS (SELECT FROM record_blob r WHERE r.account_id = u.account_id AND r.cid = u.cid)
        "#,
        &accounts,
        &cids as _,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Gives up those that are still unused; gives how many.
pub(super) async fn give_up_unused(conn: &mut PgConnection, unused: &[Unused]) -> sqlx::Result<usize> {
    let (accounts, cids) = keys(unused);
    let dids: Vec<&str> = unused.iter().map(|blob| blob.did.0.as_str()).collect();
    let rows = sqlx::query_scalar!(
        r#"
            WITH gone AS (
                DELETE FROM blob b
                USING unnest($1::bigint[], $2::text[], $3::bytea[]) AS u (account_id, did, cid)
                WHERE b.account_id = u.account_id AND b.cid = u.cid AND b.state = 'temporary'
                RETURNING u.did, u.cid
            )
            INSERT INTO blob_deletion (did, cid)
            SELECT did, cid FROM gone
            ON CONFLICT (did, cid) DO UPDATE SET created_at = excluded.created_at, deleted_at = NULL
            RETURNING 1 AS "one!"
        "#,
        &accounts,
        &dids as _,
        &cids as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.len())
}

/// As [`super::give_up`].
pub(super) async fn give_up(conn: &mut PgConnection, account: AccountId, did: &Did, limit: i64) -> sqlx::Result<u64> {
    let query = sqlx::query!(
        r#"
            WITH gone AS (
                DELETE FROM blob
                WHERE account_id = $1
                    AND cid IN (SELECT cid FROM blob WHERE account_id = $1 ORDER BY cid LIMIT $3)
                    AND NOT EXISTS (SELECT FROM account WHERE id = $1)
                RETURNING cid
            )
            INSERT INTO blob_deletion (did, cid)
            SELECT $2, cid FROM gone
            ON CONFLICT (did, cid) DO UPDATE SET created_at = excluded.created_at, deleted_at = NULL
        "#,
        account.get(),
        did.as_str(),
        limit,
    );
    Ok(query.execute(conn).await?.rows_affected())
}

/// Forgets deletions, before their bytes went, of what an account has again.
pub(super) async fn delete_revived(conn: &mut PgConnection) -> sqlx::Result<()> {
    let query = sqlx::query!(
        r#"
            DELETE FROM blob_deletion d
            WHERE d.deleted_at IS NULL AND d.created_at < clock_timestamp() - interval '1 minute'
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
            SELECT d.did AS "did: TextColumn<Did>", d.cid AS "cid: CidColumn"
            FROM blob_deletion d
            WHERE d.deleted_at IS NULL AND d.created_at < clock_timestamp() - interval '1 minute'
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
    Ok(rows.into_iter().map(|row| Doomed { did: row.did.0, cid: row.cid.0 }).collect())
}

/// Notes that the bytes of a blob are gone.
pub(super) async fn update_deleted(conn: &mut PgConnection, did: &Did, cid: Cid) -> sqlx::Result<()> {
    let query = sqlx::query!(
        "UPDATE blob_deletion SET deleted_at = clock_timestamp() WHERE did = $1 AND cid = $2",
        did.as_str(),
        cid.as_bytes(),
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

fn keys(unused: &[Unused]) -> (Vec<i64>, Vec<&[u8]>) {
    unused.iter().map(|blob| (blob.account.get(), blob.cid.0.as_bytes().as_slice())).unzip()
}
