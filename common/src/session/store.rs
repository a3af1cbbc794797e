//! All SQL of sessions.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Opening, Origin, RefreshToken, RefreshTokenId};
use crate::db::{self, AccountId, TextColumn};

/// Stores the first token of a session; false if what it is opened with is gone, or the account.
pub(super) async fn insert(
    conn: &mut PgConnection,
    account: AccountId,
    token: &RefreshToken,
    opening: Opening<'_>,
) -> sqlx::Result<bool> {
    let (hash, name) = match opening {
        Opening::MainPassword { hash } => (Some(hash), None),
        Opening::AppPassword { name } => (None, Some(name)),
    };
    let insertion = sqlx::query!(
        r#"
            INSERT INTO refresh_token (id, account_id, expires_at, app_password_name)
            SELECT $1, owner.id, $3, $5
            FROM (
                SELECT id FROM account WHERE id = $2 AND ($4::text IS NULL OR password_hash = $4) FOR KEY SHARE
            ) AS owner
        "#,
        token.id.as_str(),
        account.get(),
        token.expires_at,
        hash,
        name,
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

/// Locks the account of a token, alone: no session of it is opened or prolonged now. False if there is no such token.
pub(super) async fn lock_owner(conn: &mut PgConnection, id: &RefreshTokenId) -> sqlx::Result<bool> {
    let owner = sqlx::query_scalar!(
        "SELECT a.id FROM refresh_token t JOIN account a ON a.id = t.account_id WHERE t.id = $1 FOR UPDATE OF a",
        id.as_str(),
    );
    Ok(owner.fetch_optional(conn).await?.is_some())
}

/// Deletes a token with all that it was exchanged from and for. The caller has locked its account.
pub(super) async fn delete_chain(conn: &mut PgConnection, id: &RefreshTokenId) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
            WITH RECURSIVE chain AS (
                SELECT id, account_id, next_id FROM refresh_token WHERE id = $1
                UNION
                SELECT t.id, t.account_id, t.next_id
                FROM refresh_token t
                JOIN chain c ON t.account_id = c.account_id AND (t.next_id = c.id OR t.id = c.next_id)
            )
            DELETE FROM refresh_token WHERE id IN (SELECT id FROM chain)
        "#,
        id.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
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
