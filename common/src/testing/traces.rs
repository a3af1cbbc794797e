//! What the database holds of an account.

use std::time::Duration;

use atproto::syntax::Did;
use sqlx::{AssertSqlSafe, Row as _};

use crate::db::{AccountId, PgPool};

/// The tables whose rows belong to accounts, and whether they go by themselves with the account's row.
///
/// # Panics
/// If Postgres refuses.
pub async fn tables_of_accounts(pool: &PgPool) -> Vec<(String, bool)> {
    let columns = account_columns(pool).await;
    columns.into_iter().map(|column| (column.table, column.cascades)).collect()
}

/// How many rows there are of an account in each table that has any, by name; the log of events apart.
///
/// # Panics
/// If Postgres refuses.
pub async fn rows_of_account(pool: &PgPool, account: AccountId) -> Vec<(String, i64)> {
    let mut rows = Vec::new();
    for Reference { table, column, .. } in account_columns(pool).await {
        let count = format!("SELECT count(*) FROM {table} WHERE {column} = {}", account.get());
        let row = sqlx::raw_sql(AssertSqlSafe(count)).fetch_one(pool).await.expect("a count");
        let count: i64 = row.get(0);
        if count > 0 && table != "repo_event" {
            rows.push((table, count));
        }
    }
    rows
}

/// Makes the deactivation of an account longer ago than it is.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_deactivation(pool: &PgPool, did: &Did, by: Duration) {
    let query = sqlx::query!(
        "UPDATE account SET deactivated_at = deactivated_at - make_interval(secs => $2) WHERE did = $1",
        did.as_str(),
        by.as_secs_f64(),
    );
    query.execute(pool).await.expect("an update");
}

/// Makes the time at which an account may be deleted earlier than it is.
///
/// # Panics
/// If Postgres refuses.
pub async fn bring_deletion_forward(pool: &PgPool, did: &Did, by: Duration) {
    let query = sqlx::query!(
        "UPDATE account SET delete_after = delete_after - make_interval(secs => $2) WHERE did = $1",
        did.as_str(),
        by.as_secs_f64(),
    );
    query.execute(pool).await.expect("an update");
}

/// Makes the reservation of a signing key longer ago than it is.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_reservation(pool: &PgPool, did: &Did, by: Duration) {
    let query = sqlx::query!(
        "UPDATE reserved_signing_key SET created_at = created_at - make_interval(secs => $2) WHERE did = $1",
        did.as_str(),
        by.as_secs_f64(),
    );
    query.execute(pool).await.expect("an update");
}

/// Makes all that was begun, sign-ups and changes of handles, longer ago than it is.
///
/// # Panics
/// If Postgres refuses.
pub async fn age_unfinished(pool: &PgPool, by: Duration) {
    let query =
        sqlx::query!("UPDATE account_draft SET created_at = created_at - make_interval(secs => $1)", by.as_secs_f64(),);
    query.execute(pool).await.expect("an update");
    let query =
        sqlx::query!("UPDATE handle_change SET created_at = created_at - make_interval(secs => $1)", by.as_secs_f64(),);
    query.execute(pool).await.expect("an update");
}

/// How many sign-ups and changes of handles were begun and not finished.
///
/// # Panics
/// If Postgres refuses.
pub async fn unfinished(pool: &PgPool) -> (i64, i64) {
    let query = sqlx::query!(
        r#"
            SELECT
                (SELECT count(*) FROM account_draft) AS "drafts!", (SELECT count(*) FROM handle_change) AS "changes!"
        "#
    );
    let counts = query.fetch_one(pool).await.expect("counts");
    (counts.drafts, counts.changes)
}

/// A column that holds the number of an account.
struct Reference {
    table: String,
    column: String,
    cascades: bool,
}

/// Columns named `account_id`, and those that refer to an account by a foreign key.
async fn account_columns(pool: &PgPool) -> Vec<Reference> {
    let query = sqlx::query_as!(
        Reference,
        r#"
            SELECT c.relname::text AS "table!", a.attname::text AS "column!", coalesce(f.confdeltype = 'c', false) AS "cascades!"
            FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_constraint f
                ON f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid = 'account'::regclass AND f.conkey = ARRAY[a.attnum]
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND (a.attname = 'account_id' OR f.oid IS NOT NULL)
            ORDER BY c.relname
        "#,
    );
    query.fetch_all(pool).await.expect("the tables")
}
