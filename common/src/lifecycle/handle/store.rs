//! All SQL of changes of handles.

use atproto::syntax::{Did, Handle};
use sqlx::PgConnection;

use crate::db::{AccountId, TextColumn};

/// Notes that an account is about to get a handle; false if it is about to get another one. A unique violation of
/// `handle_change_handle_key` if another account is about to get it.
pub(super) async fn upsert(conn: &mut PgConnection, account: AccountId, handle: &Handle) -> sqlx::Result<bool> {
    let query = sqlx::query!(
        r#"
            INSERT INTO handle_change (account_id, handle) VALUES ($1, $2)
            ON CONFLICT (account_id) DO UPDATE SET handle = excluded.handle, created_at = clock_timestamp()
            WHERE handle_change.handle = excluded.handle
                OR handle_change.created_at < clock_timestamp() - interval '5 minutes'
        "#,
        account.get(),
        handle.as_str(),
    );
    Ok(query.execute(conn).await?.rows_affected() > 0)
}

/// Forgets that an account was about to get this handle.
pub(super) async fn delete(conn: &mut PgConnection, account: AccountId, handle: &Handle) -> sqlx::Result<()> {
    let query =
        sqlx::query!("DELETE FROM handle_change WHERE account_id = $1 AND handle = $2", account.get(), handle.as_str());
    query.execute(conn).await?;
    Ok(())
}

/// Stores an account's handle and announces it, in one statement; false if there is no such account.
pub(super) async fn update_handle(
    conn: &mut PgConnection,
    account: AccountId,
    handle: &Handle,
    event: &[u8],
) -> sqlx::Result<bool> {
    let query = sqlx::query_scalar!(
        r#"SELECT account_handle_change_v1($1, $2, $3) AS "stored!""#,
        account.get(),
        handle.as_str(),
        event,
    );
    query.fetch_one(conn).await
}

/// Changes that were begun more than five minutes ago: whose, and to what.
pub(super) async fn list_stale(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<(Did, Handle)>> {
    let rows = sqlx::query!(
        r#"
            SELECT a.did AS "did: TextColumn<Did>", c.handle AS "handle: TextColumn<Handle>"
            FROM handle_change c
            JOIN account a ON a.id = c.account_id
            WHERE c.created_at < clock_timestamp() - interval '5 minutes'
            ORDER BY c.created_at
            LIMIT $1
        "#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.did.0, row.handle.0)).collect())
}
