//! All SQL of codes.

use atproto::syntax::{Did, Handle};
use sqlx::PgConnection;

use super::{CODE_LIFETIME, CodeMail, EmailCode};
use crate::account::AccountId;
use crate::account::jobs::{CodePurpose, SendCode};
use crate::db::TextColumn;

/// Stores a code in place of the one before; false if there is no such account.
pub(super) async fn upsert(conn: &mut PgConnection, request: &SendCode, code: &EmailCode) -> sqlx::Result<bool> {
    let digest = code.digest(request.purpose);
    let upsert = sqlx::query!(
        r#"
            INSERT INTO email_token (account_id, purpose, token, digest, expires_at)
            SELECT id, $2, $3, $4, clock_timestamp() + make_interval(secs => $5) FROM account WHERE did = $1
            ON CONFLICT (account_id, purpose) DO UPDATE
            SET token = excluded.token, digest = excluded.digest, expires_at = excluded.expires_at
        "#,
        request.did.as_str(),
        request.purpose.as_str(),
        code.as_str(),
        digest.as_slice(),
        CODE_LIFETIME.as_secs_f64(),
    );
    Ok(upsert.execute(conn).await?.rows_affected() > 0)
}

/// The code that is good now, with where to mail it.
pub(super) async fn find_mail(
    conn: &mut PgConnection,
    did: &Did,
    purpose: CodePurpose,
) -> sqlx::Result<Option<CodeMail>> {
    let row = sqlx::query!(
        r#"
            SELECT
                a.email AS "email!",
                a.handle AS "handle: TextColumn<Handle>",
                t.token AS "token: TextColumn<EmailCode>",
                t.expires_at
            FROM account a
            JOIN email_token t ON t.account_id = a.id
            WHERE a.did = $1 AND a.email IS NOT NULL AND t.purpose = $2 AND t.expires_at > clock_timestamp()
        "#,
        did.as_str(),
        purpose.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| CodeMail {
        email: row.email,
        handle: row.handle.map(|handle| handle.0),
        code: row.token.0,
        expires_at: row.expires_at,
    }))
}

/// Whose code has this digest, and whether it is good still.
pub(super) async fn find_owner(conn: &mut PgConnection, digest: &[u8]) -> sqlx::Result<Option<(AccountId, bool)>> {
    let row = sqlx::query!(
        r#"
            SELECT account_id AS "account_id: AccountId", expires_at > clock_timestamp() AS "is_good!"
            FROM email_token
            WHERE digest = $1
        "#,
        digest,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.account_id, row.is_good)))
}

/// What became of a code that was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Consumption {
    Used,
    TooLate,
    Unknown,
}

/// Deletes a code that is good still.
///
/// The deletion locks the row: of two at once, the second waits and then finds none. One that has expired stays, so that
/// its owner hears why it is not accepted.
pub(super) async fn consume(conn: &mut PgConnection, account: AccountId, digest: &[u8]) -> sqlx::Result<Consumption> {
    let row = sqlx::query!(
        r#"
            WITH used AS (
                DELETE FROM email_token
                WHERE account_id = $1 AND digest = $2 AND expires_at > clock_timestamp()
                RETURNING account_id
            )
            SELECT
                EXISTS (SELECT FROM used) AS "is_used!",
                EXISTS (
                    SELECT FROM email_token
                    WHERE account_id = $1 AND digest = $2 AND expires_at <= clock_timestamp()
                ) AS "is_expired!"
        "#,
        account.get(),
        digest,
    )
    .fetch_one(conn)
    .await?;
    Ok(match (row.is_used, row.is_expired) {
        (true, _) => Consumption::Used,
        (false, true) => Consumption::TooLate,
        (false, false) => Consumption::Unknown,
    })
}

/// Deletes every code of an account.
pub(super) async fn delete_all(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM email_token WHERE account_id = $1", account.get()).execute(conn).await?;
    Ok(())
}

/// Deletes codes that expired more than a day ago, the oldest first, at most `limit`; gives how many.
pub(super) async fn delete_expired(conn: &mut PgConnection, limit: u16) -> sqlx::Result<u64> {
    let deletion = sqlx::query!(
        r#"
            DELETE FROM email_token
            WHERE (account_id, purpose) IN (
                SELECT account_id, purpose
                FROM email_token
                WHERE expires_at < clock_timestamp() - interval '1 day'
                ORDER BY expires_at
                LIMIT $1
                FOR UPDATE SKIP LOCKED
            )
        "#,
        i64::from(limit),
    );
    Ok(deletion.execute(conn).await?.rows_affected())
}
