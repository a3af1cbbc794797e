//! All SQL of invitation codes.

use std::collections::HashMap;

use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Invite, InviteOrder, InvitePlace, InviteUse};
use crate::db::{AccountId, TextColumn};

/// A code without its uses.
struct CodeRow {
    code: String,
    available: i32,
    disabled: bool,
    for_account: String,
    created_by: String,
    created_at: DateTime<Utc>,
}

/// What new codes have in common.
pub(super) struct Batch<'a> {
    pub(super) uses: i32,
    pub(super) created_by: &'a str,
    pub(super) disabled: bool,
    pub(super) at: DateTime<Utc>,
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    for_account: &str,
    codes: &[String],
    batch: &Batch<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
            INSERT INTO invite_code (code, available_uses, disabled, for_account, created_by, created_at)
            SELECT code, $2, $3, $4, $5, $6 FROM unnest($1::text[]) AS made (code)
        "#,
        codes,
        batch.uses,
        batch.disabled,
        for_account,
        batch.created_by,
        batch.at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks an account against others that give it codes. Says whether its codes are to be disabled; `None` if it is gone.
pub(super) async fn lock_account(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!("SELECT invites_disabled FROM account WHERE id = $1 FOR NO KEY UPDATE", account.get())
        .fetch_optional(conn)
        .await
}

/// The codes that `$condition` picks by `$key`, without their uses.
macro_rules! list_codes {
    ($conn:expr, $condition:literal, $($key:expr),+) => {
        sqlx::query_as!(
            CodeRow,
            r#"
                SELECT c.code, c.available_uses AS available, c.disabled, c.for_account, c.created_by, c.created_at
                FROM invite_code c
                WHERE "#
                + $condition,
            $($key),+
        )
        .fetch_all(&mut *$conn)
    };
}

/// An account's codes, the oldest first.
pub(super) async fn list_of(conn: &mut PgConnection, account: &str) -> sqlx::Result<Vec<Invite>> {
    let rows = list_codes!(conn, "c.for_account = $1 ORDER BY c.created_at, c.code", account).await?;
    with_uses(conn, rows).await
}

/// The codes of some accounts, the oldest first.
pub(super) async fn list_of_all(conn: &mut PgConnection, accounts: &[&str]) -> sqlx::Result<Vec<Invite>> {
    let rows = list_codes!(conn, "c.for_account = ANY ($1) ORDER BY c.created_at, c.code", accounts as _).await?;
    with_uses(conn, rows).await
}

/// The codes with which some accounts signed up.
pub(super) async fn list_used_by(conn: &mut PgConnection, accounts: &[&str]) -> sqlx::Result<Vec<Invite>> {
    let rows = list_codes!(
        conn,
        "c.code IN (
            SELECT u.code FROM invite_code_use u JOIN account a ON a.id = u.used_by WHERE a.did = ANY ($1)
        )",
        accounts as _
    )
    .await?;
    with_uses(conn, rows).await
}

/// As [`super::Invites::list`].
pub(super) async fn list(
    conn: &mut PgConnection,
    order: InviteOrder,
    after: Option<&InvitePlace>,
    limit: i64,
) -> sqlx::Result<Vec<Invite>> {
    let code = after.map_or("", |place| place.code.as_str());
    let rows = match order {
        InviteOrder::Recent => {
            // Microseconds of a cursor that chrono cannot hold are later than all codes.
            let created_at = after.and_then(|place| DateTime::from_timestamp_micros(place.rank));
            list_codes!(
                conn,
                "(c.created_at, c.code) < ($1, $2) ORDER BY c.created_at DESC, c.code DESC LIMIT $3",
                created_at.unwrap_or(DateTime::<Utc>::MAX_UTC),
                code,
                limit
            )
            .await?
        }
        // Counts the uses of all codes: there is no index of that, and whoever asks does so now and then.
        InviteOrder::Usage => {
            list_codes!(
                conn,
                "((SELECT count(*) FROM invite_code_use u WHERE u.code = c.code), c.code) < ($1, $2)
                ORDER BY (SELECT count(*) FROM invite_code_use u WHERE u.code = c.code) DESC, c.code DESC LIMIT $3",
                after.map_or(i64::MAX, |place| place.rank),
                code,
                limit
            )
            .await?
        }
    };
    with_uses(conn, rows).await
}

/// Adds the uses, in the order of the codes.
async fn with_uses(conn: &mut PgConnection, rows: Vec<CodeRow>) -> sqlx::Result<Vec<Invite>> {
    let codes: Vec<&str> = rows.iter().map(|row| row.code.as_str()).collect();
    let found = sqlx::query!(
        r#"
            SELECT u.code, a.did AS "did: TextColumn<Did>", u.used_at
            FROM invite_code_use u
            JOIN account a ON a.id = u.used_by
            WHERE u.code = ANY ($1)
            ORDER BY u.used_at, u.used_by
        "#,
        &codes as _,
    )
    .fetch_all(conn)
    .await?;
    let mut uses: HashMap<String, Vec<InviteUse>> = HashMap::new();
    for row in found {
        uses.entry(row.code).or_default().push(InviteUse { used_by: row.did.0, used_at: row.used_at });
    }
    let invites = rows.into_iter().map(|row| Invite {
        uses: uses.remove(&row.code).unwrap_or_default(),
        code: row.code,
        available: row.available,
        disabled: row.disabled,
        for_account: row.for_account,
        created_by: row.created_by,
        created_at: row.created_at,
    });
    Ok(invites.collect())
}

/// Stops codes; gives those that were not stopped before.
pub(super) async fn disable(conn: &mut PgConnection, codes: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "UPDATE invite_code SET disabled = true WHERE code = ANY ($1) AND NOT disabled RETURNING code",
        codes,
    )
    .fetch_all(conn)
    .await
}

/// Stops all codes of some accounts; gives those that were not stopped before.
pub(super) async fn disable_of(conn: &mut PgConnection, accounts: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "UPDATE invite_code SET disabled = true WHERE for_account = ANY ($1) AND NOT disabled RETURNING code",
        accounts,
    )
    .fetch_all(conn)
    .await
}

/// Says whether codes that an account earns are made disabled. Gives what held before; `None` if there is no such account.
pub(super) async fn update_disabled(
    conn: &mut PgConnection,
    account: &Did,
    disabled: bool,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"
            WITH old AS (
                SELECT id, invites_disabled FROM account WHERE did = $1 FOR NO KEY UPDATE
            )
            UPDATE account
            SET invites_disabled = $2
            FROM old
            WHERE account.id = old.id
            RETURNING old.invites_disabled
        "#,
        account.as_str(),
        disabled,
    )
    .fetch_optional(conn)
    .await
}

/// True if the code exists, is not disabled, has uses left, and does not belong to an account that was taken down.
pub(super) async fn is_usable(conn: &mut PgConnection, code: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
            SELECT EXISTS (
                SELECT
                FROM invite_code c
                WHERE c.code = $1
                    AND NOT c.disabled
                    AND c.available_uses > (SELECT count(*) FROM invite_code_use u WHERE u.code = c.code)
                    AND NOT EXISTS (
                        SELECT FROM account a WHERE a.did = c.for_account AND a.takedown_ref IS NOT NULL
                    )
            ) AS "usable!"
        "#,
        code,
    )
    .fetch_one(conn)
    .await
}
