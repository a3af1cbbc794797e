//! All SQL of accounts.

use atproto::syntax::{Did, Handle};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Account, AccountId, AccountStatus, EmailAddress, PasswordHash, StoredEmail};
use crate::db::{TextColumn, in_place};

/// An account and what its owner signs in with.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) account: Account,
    /// `None` if there is no password: then nobody can sign in here.
    pub(super) password_hash: Option<PasswordHash>,
}

struct LoginRow {
    id: AccountId,
    did: TextColumn<Did>,
    handle: Option<TextColumn<Handle>>,
    email: Option<String>,
    email_confirmed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    taken_down: bool,
    deactivated: bool,
    password_hash: Option<TextColumn<PasswordHash>>,
}

impl From<LoginRow> for Login {
    fn from(row: LoginRow) -> Self {
        let account = Account {
            id: row.id,
            did: row.did.0,
            handle: row.handle.map(|handle| handle.0),
            email: row.email,
            email_confirmed_at: row.email_confirmed_at,
            created_at: row.created_at,
            status: AccountStatus::from_marks(row.taken_down, row.deactivated),
        };
        Self { account, password_hash: row.password_hash.map(|hash| hash.0) }
    }
}

/// The one row that `$condition` picks by `$key`.
macro_rules! find_login {
    ($conn:expr, $condition:literal, $key:expr) => {
        sqlx::query_as!(
            LoginRow,
            r#"
                SELECT
                    id AS "id: AccountId",
                    did AS "did: TextColumn<Did>",
                    handle AS "handle: TextColumn<Handle>",
                    email,
                    email_confirmed_at,
                    created_at,
                    takedown_ref IS NOT NULL AS "taken_down!",
                    deactivated_at IS NOT NULL AS "deactivated!",
                    password_hash AS "password_hash: TextColumn<PasswordHash>"
                FROM account
                WHERE "#
                + $condition,
            $key,
        )
        .fetch_optional($conn)
        .await
        .map(|row| row.map(Login::from))
    };
}

pub(super) async fn find_by_did(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<Login>> {
    find_login!(conn, "did = $1", did.as_str())
}

/// The accounts with these DIDs, each in its DID's place.
pub(super) async fn find_all_by_did(conn: &mut PgConnection, dids: &[Did]) -> sqlx::Result<Vec<Option<Account>>> {
    let dids: Vec<&str> = dids.iter().map(Did::as_str).collect();
    // A lateral query with a limit is looked up by its index for each DID, whatever the planner thinks of the table.
    let rows = sqlx::query!(
        r#"
            SELECT
                wanted.place AS "place!",
                id AS "id: AccountId",
                found.did AS "did: TextColumn<Did>",
                handle AS "handle: TextColumn<Handle>",
                email,
                email_confirmed_at,
                created_at,
                takedown_ref IS NOT NULL AS "taken_down!",
                deactivated_at IS NOT NULL AS "deactivated!"
            FROM unnest($1::text[]) WITH ORDINALITY AS wanted (did, place)
            CROSS JOIN LATERAL (SELECT * FROM account WHERE account.did = wanted.did LIMIT 1) AS found
        "#,
        &dids as _,
    )
    .fetch_all(conn)
    .await?;
    let accounts = rows.into_iter().map(|row| {
        let account = Account {
            id: row.id,
            did: row.did.0,
            handle: row.handle.map(|handle| handle.0),
            email: row.email,
            email_confirmed_at: row.email_confirmed_at,
            created_at: row.created_at,
            status: AccountStatus::from_marks(row.taken_down, row.deactivated),
        };
        (row.place, account)
    });
    Ok(in_place(dids.len(), accounts))
}

pub(super) async fn find_by_handle(conn: &mut PgConnection, handle: &Handle) -> sqlx::Result<Option<Login>> {
    find_login!(conn, "lower(handle) = $1", handle.as_str())
}

/// `email` is in lower case.
pub(super) async fn find_by_email(conn: &mut PgConnection, email: &str) -> sqlx::Result<Option<Login>> {
    find_login!(conn, "lower(email) = $1", email)
}

/// The account's address, which nobody else changes before the transaction ends.
pub(super) async fn lock_email(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<StoredEmail>> {
    sqlx::query_as!(
        StoredEmail,
        r#"
            SELECT email AS address, email_confirmed_at IS NOT NULL AS "is_confirmed!"
            FROM account
            WHERE id = $1
            FOR NO KEY UPDATE
        "#,
        account.get(),
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn confirm_email(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    sqlx::query!("UPDATE account SET email_confirmed_at = clock_timestamp() WHERE id = $1", account.get())
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets an address that is not confirmed; false if there is no such account.
pub(super) async fn update_email(
    conn: &mut PgConnection,
    account: AccountId,
    email: &EmailAddress,
) -> sqlx::Result<bool> {
    let update = sqlx::query!(
        "UPDATE account SET email = $2, email_confirmed_at = NULL WHERE id = $1",
        account.get(),
        email.as_str(),
    );
    Ok(update.execute(conn).await?.rows_affected() > 0)
}

/// Locks an account against everything, also against rows that are to hang on it; false if there is none.
pub(super) async fn lock(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<bool> {
    let lock = sqlx::query!("SELECT FROM account WHERE id = $1 FOR UPDATE", account.get());
    Ok(lock.execute(conn).await?.rows_affected() > 0)
}

pub(super) async fn update_password(
    conn: &mut PgConnection,
    account: AccountId,
    hash: &PasswordHash,
) -> sqlx::Result<()> {
    sqlx::query!("UPDATE account SET password_hash = $2 WHERE id = $1", account.get(), hash.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Stores another hash of the same password; false if the one before is not there any more.
pub(super) async fn replace_password(
    conn: &mut PgConnection,
    account: AccountId,
    before: &PasswordHash,
    after: &PasswordHash,
) -> sqlx::Result<bool> {
    let update = sqlx::query!(
        "UPDATE account SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
        account.get(),
        before.as_str(),
        after.as_str(),
    );
    Ok(update.execute(conn).await?.rows_affected() > 0)
}
