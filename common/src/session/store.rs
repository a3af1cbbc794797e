//! All SQL of sessions.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::address::{AddressMark, RENEWED_AFTER};
use super::{Opening, Origin, RefreshToken, RefreshTokenId};
use crate::db::{self, AccountId, TextColumn};

/// How a session begins.
#[derive(Debug)]
pub(super) struct Beginning<'a> {
    pub(super) account: AccountId,
    pub(super) opening: Opening<'a>,
    /// Stands for where it is opened from.
    pub(super) mark: Option<&'a AddressMark>,
    pub(super) now: DateTime<Utc>,
}

/// Stores the first token of a session, and where it was opened from; false if what it is opened with is gone, or the
/// account.
pub(super) async fn insert(
    conn: &mut PgConnection,
    token: &RefreshToken,
    beginning: &Beginning<'_>,
) -> sqlx::Result<bool> {
    let (hash, name) = match beginning.opening {
        Opening::MainPassword { hash } => (Some(hash), None),
        Opening::AppPassword { name } => (None, Some(name)),
    };
    let insertion = sqlx::query!(
        r#"
            WITH owner AS MATERIALIZED (
                SELECT id FROM account WHERE id = $2 AND ($4::text IS NULL OR password_hash = $4) FOR KEY SHARE
            ), seen AS (
                INSERT INTO sign_in_address (account_id, mark, signed_in_at)
                SELECT id, $6, $7 FROM owner WHERE $6::bytea IS NOT NULL
                ON CONFLICT (account_id, mark) DO UPDATE SET signed_in_at = excluded.signed_in_at
                WHERE sign_in_address.signed_in_at < excluded.signed_in_at - make_interval(secs => $8)
            )
            INSERT INTO refresh_token (id, account_id, expires_at, app_password_name)
            SELECT $1, id, $3, $5 FROM owner
        "#,
        token.id.as_str(),
        beginning.account.get(),
        token.expires_at,
        hash,
        name,
        beginning.mark.map(AddressMark::as_bytes),
        beginning.now,
        RENEWED_AFTER.as_secs_f64(),
    );
    match insertion.execute(conn).await {
        Ok(done) => Ok(done.rows_affected() > 0),
        Err(error) if db::violates(&error, "refresh_token_app_password_fkey") => Ok(false),
        Err(error) => Err(error),
    }
}

/// One exchange of a token.
#[derive(Debug)]
pub(super) struct Rotation<'a> {
    pub(super) account: AccountId,
    /// The token that is handed in.
    pub(super) id: &'a RefreshTokenId,
    pub(super) now: DateTime<Utc>,
    /// What to give for it, unless something was given before.
    pub(super) next: RefreshToken,
    /// When the token handed in stops working, unless that is sooner already.
    pub(super) grace_ends_at: DateTime<Utc>,
}

/// Gives the id of the next token and what the session was opened with, or `None` if the one handed in is not good.
///
/// The update locks the row: of two exchanges at once the second waits, then sees the `next_id` of the first and keeps it.
/// What it was opened with is read from the row that was updated, and an app password from its own row: it may have been
/// revoked meanwhile, and then there is no session to prolong.
pub(super) async fn rotate(
    conn: &mut PgConnection,
    rotation: &Rotation<'_>,
) -> sqlx::Result<Option<(RefreshTokenId, Origin)>> {
    let row = sqlx::query!(
        r#"
            WITH owner AS MATERIALIZED (
                SELECT id FROM account WHERE id = $2 FOR KEY SHARE
            ), used AS (
                UPDATE refresh_token t
                SET next_id = coalesce(t.next_id, $4), expires_at = least(t.expires_at, $6)
                FROM owner
                WHERE t.id = $1 AND t.account_id = owner.id AND t.expires_at > $3
                RETURNING t.account_id, t.next_id, t.app_password_name
            ), purged AS (
                DELETE FROM refresh_token t
                USING used
                WHERE t.account_id = used.account_id AND t.expires_at <= $3
            ), stored AS (
                INSERT INTO refresh_token (id, account_id, expires_at, app_password_name)
                SELECT next_id, account_id, $5, app_password_name FROM used
                ON CONFLICT (id) DO NOTHING
            )
            SELECT
                used.next_id AS "next_id!: TextColumn<RefreshTokenId>",
                used.app_password_name IS NOT NULL AS "is_app_password!",
                coalesce(p.privileged, false) AS "privileged!"
            FROM used
            LEFT JOIN app_password p ON p.account_id = used.account_id AND p.name = used.app_password_name
        "#,
        rotation.id.as_str(),
        rotation.account.get(),
        rotation.now,
        rotation.next.id.as_str(),
        rotation.next.expires_at,
        rotation.grace_ends_at,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let origin =
            if row.is_app_password { Origin::AppPassword { privileged: row.privileged } } else { Origin::MainPassword };
        (row.next_id.0, origin)
    }))
}

/// Ends the session of a token. In a function, since it takes two statements: the account is locked for as long as they
/// take, and not until an answer has come and gone.
pub(super) async fn end(conn: &mut PgConnection, id: &RefreshTokenId) -> sqlx::Result<()> {
    sqlx::query!("SELECT session_end_v1($1)", id.as_str()).execute(conn).await?;
    Ok(())
}

/// Stores where an account is used from.
pub(super) async fn upsert_address(
    conn: &mut PgConnection,
    account: AccountId,
    mark: &AddressMark,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let upsert = sqlx::query!(
        r#"
            INSERT INTO sign_in_address (account_id, mark, signed_in_at) VALUES ($1, $2, $3)
            ON CONFLICT (account_id, mark) DO UPDATE SET signed_in_at = excluded.signed_in_at
        "#,
        account.get(),
        mark.as_bytes(),
        now,
    );
    upsert.execute(conn).await?;
    Ok(())
}

/// Whether one of these marks is there that is not older.
pub(super) async fn has_address(
    conn: &mut PgConnection,
    account: AccountId,
    marks: &[AddressMark],
    since: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let marks: Vec<&[u8]> = marks.iter().map(AddressMark::as_bytes).collect();
    sqlx::query_scalar!(
        r#"
            SELECT EXISTS (
                SELECT FROM sign_in_address WHERE account_id = $1 AND mark = ANY ($2) AND signed_in_at > $3
            ) AS "exists!"
        "#,
        account.get(),
        &marks as _,
        since,
    )
    .fetch_one(conn)
    .await
}

/// Deletes addresses that were not signed in from since then, the oldest first, at most `limit`; gives how many.
pub(super) async fn delete_addresses(conn: &mut PgConnection, since: DateTime<Utc>, limit: u16) -> sqlx::Result<u64> {
    let deletion = sqlx::query!(
        r#"
            DELETE FROM sign_in_address
            WHERE (account_id, mark) IN (
                SELECT account_id, mark FROM sign_in_address
                WHERE signed_in_at <= $1
                ORDER BY signed_in_at
                LIMIT $2
                FOR UPDATE SKIP LOCKED
            )
        "#,
        since,
        i64::from(limit),
    );
    Ok(deletion.execute(conn).await?.rows_affected())
}

/// Deletes every token of an account.
pub(super) async fn delete_all(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM refresh_token WHERE account_id = $1", account.get()).execute(conn).await?;
    Ok(())
}

/// Deletes tokens that have expired, the oldest first, at most `limit`; gives how many. What somebody else is deleting is
/// left to them: whoever prolongs a session deletes such tokens, too, in an order of their own.
pub(super) async fn delete_expired(conn: &mut PgConnection, now: DateTime<Utc>, limit: u16) -> sqlx::Result<u64> {
    let deletion = sqlx::query!(
        r#"
            DELETE FROM refresh_token
            WHERE id IN (
                SELECT id FROM refresh_token WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
            )
        "#,
        now,
        i64::from(limit),
    );
    Ok(deletion.execute(conn).await?.rows_affected())
}
