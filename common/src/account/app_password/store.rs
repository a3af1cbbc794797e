//! All SQL of app passwords.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{AppPassword, MAX_APP_PASSWORDS};
use crate::account::{AccountId, PasswordHash};

/// An app password to store.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) account: AccountId,
    pub(super) name: &'a str,
    pub(super) digest: [u8; 32],
    pub(super) privileged: bool,
}

/// Stores an app password, unless there are too many; gives when that was. Some that are made at once may exceed the
/// number, which only bounds how much an account can store.
pub(super) async fn insert(conn: &mut PgConnection, new: &New<'_>) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"
            INSERT INTO app_password (account_id, name, digest, privileged)
            SELECT $1, $2, $3, $4
            WHERE (SELECT count(*) FROM app_password WHERE account_id = $1) < $5
            RETURNING created_at
        "#,
        new.account.get(),
        new.name,
        new.digest.as_slice(),
        new.privileged,
        MAX_APP_PASSWORDS,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn list(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<AppPassword>> {
    sqlx::query_as!(
        AppPassword,
        "SELECT name, privileged, created_at FROM app_password WHERE account_id = $1 ORDER BY created_at, name",
        account.get(),
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn find(
    conn: &mut PgConnection,
    account: AccountId,
    digest: &[u8],
) -> sqlx::Result<Option<AppPassword>> {
    sqlx::query_as!(
        AppPassword,
        "SELECT name, privileged, created_at FROM app_password WHERE account_id = $1 AND digest = $2",
        account.get(),
        digest,
    )
    .fetch_optional(conn)
    .await
}

/// True if there are app passwords of the account that are known by the reference server's hash.
pub(super) async fn has_older(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<bool> {
    let older = sqlx::query_scalar!(
        r#"
            SELECT EXISTS (SELECT FROM app_password WHERE account_id = $1 AND scrypt_hash IS NOT NULL) AS "has_older!"
        "#,
        account.get(),
    );
    older.fetch_one(conn).await
}

/// Gives the app password with this hash its digest instead; `None` if there is none.
pub(super) async fn renew(
    conn: &mut PgConnection,
    account: AccountId,
    hash: &PasswordHash,
    digest: &[u8],
) -> sqlx::Result<Option<AppPassword>> {
    sqlx::query_as!(
        AppPassword,
        r#"
            UPDATE app_password
            SET digest = $3, scrypt_hash = NULL
            WHERE account_id = $1 AND scrypt_hash = $2
            RETURNING name, privileged, created_at
        "#,
        account.get(),
        hash.as_str(),
        digest,
    )
    .fetch_optional(conn)
    .await
}

/// Deletes an app password, and with it its sessions.
///
/// The account comes first, as with whoever opens or prolongs a session: otherwise each could wait for the other.
pub(super) async fn delete(conn: &mut PgConnection, account: AccountId, name: &str) -> sqlx::Result<()> {
    let deletion = sqlx::query!(
        r#"
            WITH owner AS MATERIALIZED (
                SELECT id FROM account WHERE id = $1 FOR UPDATE
            )
            DELETE FROM app_password p
            USING owner
            WHERE p.account_id = owner.id AND p.name = $2
        "#,
        account.get(),
        name,
    );
    deletion.execute(conn).await?;
    Ok(())
}
