//! All SQL of sessions.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{RefreshToken, RefreshTokenId};
use crate::db::{AccountId, TextColumn};

pub(super) async fn insert(conn: &mut PgConnection, account: AccountId, token: &RefreshToken) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO refresh_token (id, account_id, expires_at) VALUES ($1, $2, $3)",
        token.id.as_str(),
        account.get(),
        token.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
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

/// Gives the id of the next token, or `None` if the one handed in is not good.
///
/// The update locks the row: of two exchanges at once the second waits, then sees the `next_id` of the first and keeps it.
pub(super) async fn rotate(conn: &mut PgConnection, rotation: &Rotation<'_>) -> sqlx::Result<Option<RefreshTokenId>> {
    let row = sqlx::query!(
        r#"
            WITH used AS (
                UPDATE refresh_token
                SET next_id = coalesce(next_id, $4), expires_at = least(expires_at, $6)
                WHERE id = $1 AND account_id = $2 AND expires_at > $3
                RETURNING account_id, next_id, app_password_name
            ), purged AS (
                DELETE FROM refresh_token t
                USING used
                WHERE t.account_id = used.account_id AND t.expires_at <= $3
            ), stored AS (
                INSERT INTO refresh_token (id, account_id, expires_at, app_password_name)
                SELECT next_id, account_id, $5, app_password_name FROM used
                ON CONFLICT (id) DO NOTHING
            )
            SELECT next_id AS "next_id!: TextColumn<RefreshTokenId>" FROM used
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
    Ok(row.map(|row| row.next_id.0))
}

/// Deletes a token with all that it was exchanged from and for.
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
