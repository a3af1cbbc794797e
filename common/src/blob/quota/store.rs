//! The SQL of quotas.

use atproto::data::Cid;
use atproto::syntax::Did;
use sqlx::PgConnection;

use super::BlobUsage;
use crate::blob::StoredBlob;
use crate::blob::store::{size_column, size_of};
use crate::config::BlobQuota;
use crate::db::AccountId;

/// An account's own quota.
pub(super) async fn find(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<BlobQuota>> {
    let query = sqlx::query!("SELECT max_bytes, max_count FROM blob_quota WHERE account_id = $1", account.get());
    query.fetch_optional(conn).await?.map(|row| quota_of(row.max_bytes, row.max_count)).transpose()
}

/// As [`super::BlobQuotas::usage`].
pub(super) async fn find_usage(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<BlobUsage> {
    let query = sqlx::query!("SELECT bytes, count FROM blob_usage WHERE account_id = $1", account.get());
    match query.fetch_optional(conn).await? {
        Some(row) => Ok(BlobUsage { bytes: size_of(row.bytes)?, count: size_of(row.count)? }),
        None => Ok(BlobUsage { bytes: 0, count: 0 }),
    }
}

/// Has whoever else reserves for an account wait until this transaction ends.
pub(super) async fn lock_usage(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    let query = sqlx::query!("SELECT FROM account WHERE id = $1 FOR NO KEY UPDATE", account.get());
    query.execute(conn).await?;
    Ok(())
}

/// What an account has and what other uploads of it have places for.
pub(super) async fn find_promised(conn: &mut PgConnection, account: AccountId, cid: Cid) -> sqlx::Result<BlobUsage> {
    let query = sqlx::query!(
        r#"
            SELECT
                (r.bytes + coalesce(u.bytes, 0))::bigint AS "bytes!", r.count + coalesce(u.count, 0) AS "count!"
            FROM (
                SELECT coalesce(sum(r.size), 0) AS bytes, count(*) AS count
                FROM blob_reservation r
                WHERE r.account_id = $1 AND r.cid <> $2 AND r.created_at > clock_timestamp() - interval '10 minutes'
                    AND NOT EXISTS (SELECT FROM blob b WHERE b.account_id = $1 AND b.cid = r.cid)
            ) r
            LEFT JOIN blob_usage u ON u.account_id = $1
        "#,
        account.get(),
        cid.as_bytes(),
    );
    let row = query.fetch_one(conn).await?;
    Ok(BlobUsage { bytes: size_of(row.bytes)?, count: size_of(row.count)? })
}

/// Takes a blob's place; forgets those of the account that ran out. Nothing if there is no such account.
pub(super) async fn upsert_reservation(
    conn: &mut PgConnection,
    account: AccountId,
    blob: &StoredBlob,
) -> sqlx::Result<()> {
    let query = sqlx::query!(
        r#"
            WITH old AS (
                DELETE FROM blob_reservation
                WHERE account_id = $1 AND cid <> $2 AND created_at <= clock_timestamp() - interval '10 minutes'
            )
            INSERT INTO blob_reservation (account_id, cid, size)
            SELECT id, $2, $3 FROM account WHERE id = $1
            ON CONFLICT (account_id, cid) DO UPDATE SET created_at = excluded.created_at
        "#,
        account.get(),
        blob.cid.as_bytes(),
        size_column(blob.size)?,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Gives a blob's place back.
pub(super) async fn delete_reservation(conn: &mut PgConnection, account: AccountId, cid: Cid) -> sqlx::Result<()> {
    let query =
        sqlx::query!("DELETE FROM blob_reservation WHERE account_id = $1 AND cid = $2", account.get(), cid.as_bytes(),);
    query.execute(conn).await?;
    Ok(())
}

/// Whether an account has a blob.
pub(super) async fn has_blob(conn: &mut PgConnection, account: AccountId, cid: Cid) -> sqlx::Result<bool> {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM blob WHERE account_id = $1 AND cid = $2) AS "has_blob!""#,
        account.get(),
        cid.as_bytes(),
    );
    query.fetch_one(conn).await
}

/// An account with its own quota, which nobody else changes until this transaction ends.
pub(super) async fn lock_account(
    conn: &mut PgConnection,
    did: &Did,
) -> sqlx::Result<Option<(AccountId, Option<BlobQuota>)>> {
    let query = sqlx::query!(
        r#"
            SELECT
                a.id AS "id: AccountId", q.account_id IS NOT NULL AS "has_own!", q.max_bytes AS "max_bytes?",
                q.max_count AS "max_count?"
            FROM account a
            LEFT JOIN blob_quota q ON q.account_id = a.id
            WHERE a.did = $1
            FOR NO KEY UPDATE OF a
        "#,
        did.as_str(),
    );
    let Some(row) = query.fetch_optional(conn).await? else { return Ok(None) };
    let own = row.has_own.then(|| quota_of(row.max_bytes, row.max_count)).transpose()?;
    Ok(Some((row.id, own)))
}

/// Gives an account a quota of its own.
pub(super) async fn upsert(conn: &mut PgConnection, account: AccountId, quota: BlobQuota) -> sqlx::Result<()> {
    let query = sqlx::query!(
        r#"
            INSERT INTO blob_quota (account_id, max_bytes, max_count)
            VALUES ($1, $2, $3)
            ON CONFLICT (account_id) DO UPDATE SET max_bytes = excluded.max_bytes, max_count = excluded.max_count
        "#,
        account.get(),
        quota.bytes.map(size_column).transpose()?,
        quota.count.map(size_column).transpose()?,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Takes an account's own quota away.
pub(super) async fn delete(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM blob_quota WHERE account_id = $1", account.get()).execute(conn).await?;
    Ok(())
}

fn quota_of(max_bytes: Option<i64>, max_count: Option<i64>) -> sqlx::Result<BlobQuota> {
    Ok(BlobQuota { bytes: max_bytes.map(size_of).transpose()?, count: max_count.map(size_of).transpose()? })
}
