//! The SQL of looking accounts up.

use atproto::syntax::{Did, Handle};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::super::{Account, AccountId, AccountStatus};
use super::AccountDetails;
use crate::db::TextColumn;

struct Row {
    id: AccountId,
    did: TextColumn<Did>,
    handle: Option<TextColumn<Handle>>,
    email: Option<String>,
    email_confirmed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    invites_disabled: bool,
    deactivated_at: Option<DateTime<Utc>>,
    delete_after: Option<DateTime<Utc>>,
    takedown_ref: Option<String>,
}

impl From<Row> for AccountDetails {
    fn from(row: Row) -> Self {
        let account = Account {
            id: row.id,
            did: row.did.0,
            handle: row.handle.map(|handle| handle.0),
            email: row.email,
            email_confirmed_at: row.email_confirmed_at,
            created_at: row.created_at,
            status: AccountStatus::from_marks(row.takedown_ref.is_some(), row.deactivated_at.is_some()),
        };
        Self {
            account,
            invites_disabled: row.invites_disabled,
            deactivated_at: row.deactivated_at,
            delete_after: row.delete_after,
            takedown_ref: row.takedown_ref,
        }
    }
}

/// The accounts that `$condition` picks, in the order and number it says.
macro_rules! list_details {
    ($conn:expr, $condition:literal, $($parameter:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"
                SELECT
                    id AS "id: AccountId",
                    did AS "did: TextColumn<Did>",
                    handle AS "handle: TextColumn<Handle>",
                    email,
                    email_confirmed_at,
                    created_at,
                    invites_disabled,
                    deactivated_at,
                    delete_after,
                    takedown_ref
                FROM account
                WHERE "#
                + $condition,
            $($parameter),+
        )
        .fetch_all($conn)
        .await
        .map(|rows| rows.into_iter().map(AccountDetails::from).collect())
    };
}

pub(super) async fn list_by_did(conn: &mut PgConnection, dids: &[Did]) -> sqlx::Result<Vec<AccountDetails>> {
    let dids: Vec<&str> = dids.iter().map(Did::as_str).collect();
    list_details!(conn, "did = ANY ($1)", &dids as _)
}

/// From after the account made at `after.0` with DID `after.1`.
pub(super) async fn list_all(
    conn: &mut PgConnection,
    after: Option<(DateTime<Utc>, &str)>,
    limit: i64,
) -> sqlx::Result<Vec<AccountDetails>> {
    let (at, did) = after.unwrap_or((DateTime::UNIX_EPOCH, ""));
    list_details!(conn, "(created_at, did) > ($1, $2) ORDER BY created_at, did LIMIT $3", at, did, limit)
}

/// The newest accounts among those made before `before`.
pub(super) async fn list_newest(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<AccountDetails>> {
    list_details!(conn, "created_at < $1 ORDER BY id DESC LIMIT $2", before, limit)
}

pub(super) async fn list_by_id(conn: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Vec<AccountDetails>> {
    list_details!(conn, "id = ANY ($1)", ids)
}

/// The first and the last number of an account; `None` if there is none.
pub(super) async fn find_bounds(conn: &mut PgConnection) -> sqlx::Result<Option<(i64, i64)>> {
    let row = sqlx::query!("SELECT min(id) AS first, max(id) AS last FROM account").fetch_one(conn).await?;
    Ok(row.first.zip(row.last))
}

/// For each of these numbers that of the first account from there on; each account once.
pub(super) async fn list_nearest(conn: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"
            SELECT DISTINCT near.id
            FROM unnest($1::bigint[]) AS wanted (id)
            CROSS JOIN LATERAL (SELECT a.id FROM account a WHERE a.id >= wanted.id ORDER BY a.id LIMIT 1) AS near
        "#,
        ids,
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn count(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM account"#).fetch_one(conn).await
}

/// `prefix` and `after` are in lower case.
pub(super) async fn list_by_email(
    conn: &mut PgConnection,
    prefix: &str,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<AccountDetails>> {
    list_details!(
        conn,
        "lower(email) >= $1 AND lower(email) < $2 AND lower(email) > coalesce($3, '') ORDER BY lower(email) LIMIT $4",
        prefix,
        end_of(prefix),
        after,
        limit
    )
}

/// `domain` and `after`, an address, are in lower case.
pub(super) async fn list_by_email_domain(
    conn: &mut PgConnection,
    domain: &str,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<AccountDetails>> {
    list_details!(
        conn,
        "split_part(lower(email), '@', 2) = $1 AND lower(email) > coalesce($2, '') ORDER BY lower(email) LIMIT $3",
        domain,
        after,
        limit
    )
}

/// `prefix` and `after` are in lower case.
pub(super) async fn list_by_handle(
    conn: &mut PgConnection,
    prefix: &str,
    after: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<AccountDetails>> {
    list_details!(
        conn,
        "lower(handle) >= $1 AND lower(handle) < $2 AND lower(handle) > coalesce($3, '')
        ORDER BY lower(handle) LIMIT $4",
        prefix,
        end_of(prefix),
        after,
        limit
    )
}

/// A text after all texts that begin with `prefix`, by bytes.
fn end_of(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}
