//! Blobs at some point of their life, and what became of them.

use atproto::data::Cid;
use atproto::syntax::Did;

use crate::db::{CidColumn, PgPool, TextColumn};

/// Puts a blob into quarantine for a day.
///
/// # Panics
/// If Postgres refuses.
pub async fn quarantine_blob(pool: &PgPool, cid: Cid) {
    let query = sqlx::query!(
        r#"
            UPDATE blob
            SET state = 'temporary', delete_after = clock_timestamp() + interval '1 day'
            WHERE cid = $1
        "#,
        cid.as_bytes().as_slice(),
    );
    query.execute(pool).await.expect("an update");
}

/// How many blobs are in quarantine.
///
/// # Panics
/// If Postgres refuses.
pub async fn quarantined_blobs(pool: &PgPool) -> i64 {
    let query = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM blob WHERE delete_after IS NOT NULL"#);
    query.fetch_one(pool).await.expect("a count")
}

/// Names of all blobs that have a row, and whether a record refers to them.
///
/// # Panics
/// If Postgres refuses.
pub async fn stored_blobs(pool: &PgPool) -> Vec<(Did, Cid, bool)> {
    let query = sqlx::query!(
        r#"
            SELECT
                a.did AS "did: TextColumn<Did>",
                b.cid AS "cid: CidColumn",
                EXISTS (SELECT FROM record_blob r WHERE r.account_id = b.account_id AND r.cid = b.cid) AS "is_used!"
            FROM blob b
            JOIN account a ON a.id = b.account_id
        "#,
    );
    let rows = query.fetch_all(pool).await.expect("rows");
    rows.into_iter().map(|row| (row.did.0, row.cid.0, row.is_used)).collect()
}

/// Whether what accounts are said to have is what they have.
///
/// # Panics
/// If Postgres refuses.
pub async fn is_usage_right(pool: &PgPool) -> bool {
    let query = sqlx::query_scalar!(
        r#"
            SELECT NOT EXISTS (
                SELECT
                FROM (SELECT account_id, sum(size) AS bytes, count(*) AS count FROM blob GROUP BY account_id) b
                FULL JOIN blob_usage u USING (account_id)
                WHERE (b.bytes, b.count) IS DISTINCT FROM (u.bytes, u.count)
            ) AS "is_right!"
        "#,
    );
    query.fetch_one(pool).await.expect("an answer")
}

/// Marks a blob as a commit does that refers to it.
///
/// # Panics
/// If Postgres refuses.
pub async fn make_blob_permanent(pool: &PgPool, cid: Cid) {
    let query = sqlx::query!(
        "UPDATE blob SET state = 'permanent' WHERE cid = $1 AND state = 'temporary'",
        cid.as_bytes().as_slice(),
    );
    query.execute(pool).await.expect("an update");
}

/// Forgets who lost references, as if there had been nobody to note it.
///
/// # Panics
/// If Postgres refuses.
pub async fn forget_dereferences(pool: &PgPool) {
    sqlx::query!("DELETE FROM blob_dereference").execute(pool).await.expect("a deletion");
}

/// How many blobs a transaction that goes on has locked to change or delete them. Asks without a lock, which others would
/// pass over.
///
/// # Panics
/// If Postgres refuses.
pub async fn locked_blobs(pool: &PgPool) -> i64 {
    let query = sqlx::query_scalar!(
        r#"
            SELECT count(*) AS "count!"
            FROM blob b
            JOIN pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = b.xmax
        "#
    );
    query.fetch_one(pool).await.expect("a count")
}
