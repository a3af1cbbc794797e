//! All SQL of deletions.

use std::ops::Range;

use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::numbers;
use crate::audit::Actor;
use crate::db::{AccountId, TextColumn};

/// Deletes an account, announces that, notes who did it, and has the rest removed, in one statement; false if there is none.
pub(super) async fn delete_account(
    conn: &mut PgConnection,
    did: &Did,
    event: &[u8],
    actor: Option<&Actor>,
) -> sqlx::Result<bool> {
    let actor = actor.map(ToString::to_string);
    let query = sqlx::query_scalar!("SELECT account_delete_v3($1, $2, $3)", actor, did.as_str(), event);
    Ok(query.fetch_one(conn).await?.is_some())
}

/// As [`delete_account`], if the account is still overdue.
pub(super) async fn delete_overdue(
    conn: &mut PgConnection,
    did: &Did,
    event: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let query = sqlx::query_scalar!("SELECT account_delete_overdue_v1($1, $2, $3)", did.as_str(), event, now);
    Ok(query.fetch_one(conn).await?.is_some())
}

/// Accounts whose `delete_after` was before `now`.
pub(super) async fn list_overdue(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Did>> {
    let rows = sqlx::query_scalar!(
        r#"
            SELECT did AS "did: TextColumn<Did>"
            FROM account
            WHERE delete_after < $1 AND takedown_ref IS NULL AND deactivated_at < $1 - interval '1 day'
            ORDER BY delete_after
            LIMIT $2
        "#,
        now,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|did| did.0).collect())
}

/// Whether anything is left of any deleted account.
pub(super) async fn is_anything_left(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let query = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM account_deletion) AS "exists!""#);
    query.fetch_one(conn).await
}

/// The first deleted account after `last` of which rows are left.
pub(super) async fn find_with_rows(conn: &mut PgConnection, last: AccountId) -> sqlx::Result<Option<AccountId>> {
    let query = sqlx::query_scalar!(
        r#"
            SELECT account_id AS "id: AccountId"
            FROM account_deletion
            WHERE NOT rows_gone AND account_id > $1
            ORDER BY account_id
            LIMIT 1
        "#,
        last.get(),
    );
    query.fetch_optional(conn).await
}

/// Deletes at most `limit` rows of each table; gives how many, and notes it when none is left.
pub(super) async fn purge_rows(conn: &mut PgConnection, account: AccountId, limit: i32) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar!(r#"SELECT account_purge_v1($1, $2) AS "rows!""#, account.get(), limit);
    query.fetch_one(conn).await
}

/// A deleted account of which blobs are left, with its DID.
pub(super) async fn find_with_blobs(conn: &mut PgConnection) -> sqlx::Result<Option<(AccountId, Did)>> {
    let row = sqlx::query!(
        r#"
            SELECT d.account_id AS "id: AccountId", d.did AS "did: TextColumn<Did>"
            FROM account_deletion d
            WHERE d.rows_gone AND EXISTS (SELECT FROM blob b WHERE b.account_id = d.account_id)
            LIMIT 1
        "#,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id, row.did.0)))
}

/// Deleted accounts of which events may be left.
pub(super) async fn list_with_events(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<AccountId>> {
    let query = sqlx::query_scalar!(
        r#"
            SELECT account_id AS "id: AccountId"
            FROM account_deletion
            WHERE NOT events_gone
            ORDER BY account_id
            LIMIT $1
        "#,
        limit,
    );
    query.fetch_all(conn).await
}

/// The seqs between which events of these accounts may be left.
pub(super) async fn find_span(conn: &mut PgConnection, accounts: &[AccountId]) -> sqlx::Result<Range<i64>> {
    let row = sqlx::query!(
        r#"
            SELECT
                greatest(
                    floor_seq, (SELECT min(d.events_to) FROM account_deletion d WHERE d.account_id = ANY ($1))
                ) AS "start!",
                last_seq + 1 AS "end!"
            FROM sequencer
        "#,
        &numbers(accounts),
    )
    .fetch_one(conn)
    .await?;
    Ok(row.start..row.end)
}

/// Deletes the events of these accounts whose seqs are in `step`, and notes how far it came; gives how many.
pub(super) async fn purge_events(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    step: Range<i64>,
) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar!(
        r#"SELECT event_purge_v1($1, $2, $3) AS "events!""#,
        &numbers(accounts),
        step.start,
        step.end,
    );
    query.fetch_one(conn).await
}

/// Notes that no events of these accounts are left, if none were below `end`.
pub(super) async fn update_events_gone(conn: &mut PgConnection, accounts: &[AccountId], end: i64) -> sqlx::Result<()> {
    let query = sqlx::query!(
        "UPDATE account_deletion SET events_gone = true WHERE account_id = ANY ($1) AND events_to >= $2",
        &numbers(accounts),
        end,
    );
    query.execute(conn).await?;
    Ok(())
}

/// Forgets the deletions after which nothing is left, blobs included.
pub(super) async fn delete_finished(conn: &mut PgConnection) -> sqlx::Result<()> {
    let query = sqlx::query!(
        r#"
            DELETE FROM account_deletion d
            WHERE d.rows_gone AND d.events_gone AND NOT EXISTS (SELECT FROM blob b WHERE b.account_id = d.account_id)
        "#,
    );
    query.execute(conn).await?;
    Ok(())
}
