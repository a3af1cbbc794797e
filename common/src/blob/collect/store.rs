//! The SQL of removing blobs.

use std::time::Duration;

use atproto::syntax::Did;
use sqlx::PgConnection;

use super::report::Tally;
use crate::db::{AccountId, CidColumn};

/// A blob, by its row.
#[derive(PartialEq, Eq)]
pub(super) struct Key {
    account: AccountId,
    cid: CidColumn,
}

/// Locks uploads that are older than `ttl` and that no record is known to refer to, the oldest first. What others are at work
/// on is left out, and so is what is taken down.
pub(super) async fn lock_unused(conn: &mut PgConnection, ttl: Duration, limit: i64) -> sqlx::Result<Vec<Key>> {
    sqlx::query_as!(
        Key,
        r#"
            SELECT account_id AS "account: AccountId", cid AS "cid: CidColumn"
            FROM blob
            WHERE state = 'temporary' AND delete_after IS NULL AND takedown_ref IS NULL
                AND created_at < clock_timestamp() - make_interval(secs => $1)
                AND EXISTS (SELECT FROM account WHERE id = account_id)
            ORDER BY created_at
            LIMIT $2
            FOR UPDATE OF blob SKIP LOCKED
        "#,
        ttl.as_secs_f64(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Takes notes of lost references that are older than `ttl`, the oldest first. Those that others are at work on are left out.
pub(super) async fn take_dereferenced(conn: &mut PgConnection, ttl: Duration, limit: i64) -> sqlx::Result<Vec<Key>> {
    sqlx::query_as!(
        Key,
        r#"
            DELETE FROM blob_dereference
            WHERE id = ANY (ARRAY (
                SELECT id
                FROM blob_dereference
                WHERE created_at < clock_timestamp() - make_interval(secs => $1)
                ORDER BY created_at
                LIMIT $2
                FOR UPDATE SKIP LOCKED
            ))
            RETURNING account_id AS "account: AccountId", cid AS "cid: CidColumn"
        "#,
        ttl.as_secs_f64(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Locks those that a record referred to when it was last looked at. What others are at work on is left out. Of the others,
/// the time of their upload decides.
pub(super) async fn lock_permanent(conn: &mut PgConnection, noted: &[Key]) -> sqlx::Result<Vec<Key>> {
    let (accounts, cids) = columns(noted);
    sqlx::query_as!(
        Key,
        r#"
            SELECT b.account_id AS "account: AccountId", b.cid AS "cid: CidColumn"
            FROM (SELECT DISTINCT account_id, cid FROM unnest($1::bigint[], $2::bytea[]) AS n (account_id, cid)) n
            JOIN blob b ON b.account_id = n.account_id AND b.cid = n.cid
            WHERE b.state = 'permanent'
            FOR UPDATE OF b SKIP LOCKED
        "#,
        &accounts,
        &cids as _,
    )
    .fetch_all(conn)
    .await
}

/// Notes those once more that are there but could not be locked: somebody is about to refer to them, or to upload them.
pub(super) async fn note_again(conn: &mut PgConnection, noted: &[Key], locked: &[Key]) -> sqlx::Result<()> {
    let held: Vec<&Key> = noted.iter().filter(|key| !locked.contains(key)).collect();
    let (accounts, cids) = columns(held);
    let query = sqlx::query!(
        r#"
            INSERT INTO blob_dereference (account_id, cid)
            SELECT DISTINCT n.account_id, n.cid
            FROM unnest($1::bigint[], $2::bytea[]) AS n (account_id, cid)
            JOIN blob b ON b.account_id = n.account_id AND b.cid = n.cid
            WHERE b.state = 'permanent'
        "#,
        &accounts,
        &cids as _,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Of those that are locked, those that no record refers to and that did not lose another reference later. Not what is taken
/// down.
pub(super) async fn list_unused(conn: &mut PgConnection, locked: &[Key]) -> sqlx::Result<Vec<Key>> {
    let (accounts, cids) = columns(locked);
    sqlx::query_as!(
        Key,
        r#"
            SELECT b.account_id AS "account: AccountId", b.cid AS "cid: CidColumn"
            FROM unnest($1::bigint[], $2::bytea[]) AS l (account_id, cid)
            JOIN blob b ON b.account_id = l.account_id AND b.cid = l.cid
            WHERE b.takedown_ref IS NULL
                AND NOT EXISTS (SELECT FROM record_blob r WHERE r.account_id = l.account_id AND r.cid = l.cid)
                AND NOT EXISTS (SELECT FROM blob_dereference d WHERE d.account_id = l.account_id AND d.cid = l.cid)
        "#,
        &accounts,
        &cids as _,
    )
    .fetch_all(conn)
    .await
}

/// Locks what has been in quarantine for long enough. What others are at work on is left out, and so is what is taken down.
pub(super) async fn lock_expired(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Key>> {
    sqlx::query_as!(
        Key,
        r#"
            SELECT account_id AS "account: AccountId", cid AS "cid: CidColumn"
            FROM blob
            WHERE delete_after <= clock_timestamp() AND takedown_ref IS NULL
                AND EXISTS (SELECT FROM account WHERE id = account_id)
            ORDER BY delete_after
            LIMIT $1
            FOR UPDATE OF blob SKIP LOCKED
        "#,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Marks those that a record refers to after all: an upload and an import passed each other by. That takes them out of
/// quarantine.
pub(super) async fn update_used(conn: &mut PgConnection, locked: &[Key]) -> sqlx::Result<()> {
    let (accounts, cids) = columns(locked);
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

/// Puts those that are locked into quarantine for `window`, unless a record refers to them.
pub(super) async fn quarantine(conn: &mut PgConnection, unused: &[Key], window: Duration) -> sqlx::Result<Tally> {
    let (accounts, cids) = columns(unused);
    sqlx::query_as!(
        TallyColumns,
        r#"
            WITH quarantined AS (
                UPDATE blob b
                SET state = 'temporary', delete_after = clock_timestamp() + make_interval(secs => $3)
                FROM unnest($1::bigint[], $2::bytea[]) AS u (account_id, cid)
                WHERE b.account_id = u.account_id AND b.cid = u.cid
                    AND NOT EXISTS (SELECT FROM record_blob r WHERE r.account_id = u.account_id AND r.cid = u.cid)
                RETURNING b.size
            )
            SELECT count(*) AS "blobs!", coalesce(sum(size), 0)::bigint AS "bytes!" FROM quarantined
        "#,
        &accounts,
        &cids as _,
        window.as_secs_f64(),
    )
    .fetch_one(conn)
    .await?
    .tally()
}

/// Gives up those that are still in quarantine.
pub(super) async fn give_up_expired(conn: &mut PgConnection, expired: &[Key]) -> sqlx::Result<Tally> {
    let (accounts, cids) = columns(expired);
    sqlx::query_as!(
        TallyColumns,
        r#"
            WITH gone AS (
                DELETE FROM blob b
                USING unnest($1::bigint[], $2::bytea[]) AS e (account_id, cid), account a
                WHERE b.account_id = e.account_id AND b.cid = e.cid AND b.delete_after IS NOT NULL
                    AND a.id = e.account_id
                RETURNING a.did, b.cid, b.size
            ), noted AS (
                INSERT INTO blob_deletion (did, cid)
                SELECT did, cid FROM gone
                ON CONFLICT (did, cid) DO UPDATE SET created_at = excluded.created_at, deleted_at = NULL
            )
            SELECT count(*) AS "blobs!", coalesce(sum(size), 0)::bigint AS "bytes!" FROM gone
        "#,
        &accounts,
        &cids as _,
    )
    .fetch_one(conn)
    .await?
    .tally()
}

/// As [`super::give_up`].
pub(super) async fn give_up(conn: &mut PgConnection, account: AccountId, did: &Did, limit: i64) -> sqlx::Result<u64> {
    let query = sqlx::query_scalar!(
        r#"
            WITH gone AS (
                DELETE FROM blob
                WHERE account_id = $1
                    AND cid IN (SELECT cid FROM blob WHERE account_id = $1 ORDER BY cid LIMIT $3)
                    AND NOT EXISTS (SELECT FROM account WHERE id = $1)
                RETURNING cid
            ), noted AS (
                INSERT INTO blob_deletion (did, cid)
                SELECT $2, gone.cid
                FROM gone
                WHERE NOT EXISTS (
                    SELECT FROM account a JOIN blob b ON b.account_id = a.id WHERE a.did = $2 AND b.cid = gone.cid
                )
                ON CONFLICT (did, cid) DO UPDATE SET created_at = excluded.created_at, deleted_at = NULL
            )
            SELECT count(*) AS "count!" FROM gone
        "#,
        account.get(),
        did.as_str(),
        limit,
    );
    count(query.fetch_one(conn).await?)
}

/// Some blobs, as Postgres counts them.
pub(super) struct TallyColumns {
    pub(super) blobs: i64,
    pub(super) bytes: i64,
}

impl TallyColumns {
    pub(super) fn tally(self) -> sqlx::Result<Tally> {
        Ok(Tally { blobs: count(self.blobs)?, bytes: count(self.bytes)? })
    }
}

pub(super) fn count(column: i64) -> sqlx::Result<u64> {
    u64::try_from(column).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn columns<'a>(keys: impl IntoIterator<Item = &'a Key>) -> (Vec<i64>, Vec<&'a [u8]>) {
    keys.into_iter().map(|key| (key.account.get(), key.cid.0.as_bytes().as_slice())).unzip()
}
