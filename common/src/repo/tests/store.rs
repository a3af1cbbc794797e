//! The SQL of the tests.

use std::collections::BTreeMap;

use atproto::data::Cid;
use sqlx::PgConnection;

use crate::db::{AccountId, PgPool};

/// Transactions that appended to the log.
pub(super) async fn count_appends(pool: &PgPool) -> i64 {
    let query = sqlx::query_scalar!(r#"SELECT count(DISTINCT xmin::text) AS "count!" FROM repo_event"#);
    query.fetch_one(pool).await.unwrap()
}

/// Makes Postgres refuse every record with the key `refused`.
pub(super) async fn refuse_records(pool: &PgPool) {
    let statement = "ALTER TABLE record ADD CONSTRAINT refused CHECK (rkey <> 'refused')";
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

/// Breaks the connection of whoever writes a record with the key `broken`, for the first so many times.
pub(super) async fn break_connections(pool: &PgPool, times: i32) {
    let statement = r"
        CREATE SEQUENCE breaks;
        CREATE TABLE break_limit (times integer NOT NULL);
        CREATE FUNCTION break_connection() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('breaks') <= (SELECT times FROM break_limit) THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
            END IF;
            RETURN NEW;
        END
        $$;
        CREATE TRIGGER breaks BEFORE INSERT ON record FOR EACH ROW WHEN (NEW.rkey = 'broken')
            EXECUTE FUNCTION break_connection();
    ";
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("INSERT INTO break_limit VALUES ({times})")))
        .execute(pool)
        .await
        .unwrap();
}

/// Holds a repo's row as another transaction's writer does.
pub(super) async fn lock_repo(conn: &mut PgConnection, account: AccountId) {
    let query = sqlx::query!("SELECT FROM repo WHERE account_id = $1 FOR UPDATE", account.get());
    query.execute(conn).await.unwrap();
}

/// Lets the planner know the tables.
pub(super) async fn analyze(pool: &PgPool) {
    sqlx::raw_sql("ANALYZE").execute(pool).await.unwrap();
}

/// Waits until no other connection to the database is open. A connection counts its scans at its end at the latest.
pub(super) async fn wait_until_alone(conn: &mut PgConnection) {
    loop {
        let query = sqlx::query_scalar!(
            r#"
                SELECT count(*) AS "count!" FROM pg_stat_activity
                WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
            "#
        );
        if query.fetch_one(&mut *conn).await.unwrap() == 0 {
            return;
        }
    }
}

/// How often the tables that a commit reads and writes were read from end to end, and by an index, as far as this
/// connection knows. Partitions count as their table.
pub(super) async fn scans(conn: &mut PgConnection) -> BTreeMap<String, (i64, i64)> {
    // Counts are published between two statements, and not at each.
    sqlx::query!("SELECT FROM pg_stat_force_next_flush()").execute(&mut *conn).await.unwrap();
    let query = sqlx::query!(
        r#"
            SELECT
                split_part(relname, '_p', 1) AS "name!", sum(seq_scan)::bigint AS "whole!",
                sum(idx_scan)::bigint AS "by_index!"
            FROM pg_stat_user_tables
            WHERE split_part(relname, '_p', 1) IN ('account', 'backlink', 'mst_node', 'record', 'repo')
            GROUP BY 1
        "#
    );
    let rows = query.fetch_all(conn).await.unwrap();
    rows.into_iter().map(|row| (row.name, (row.whole, row.by_index))).collect()
}

/// Locks a blob as somebody would who is about to delete it.
pub(super) async fn lock_blob(conn: &mut PgConnection, cid: Cid) {
    let query = sqlx::query!("SELECT FROM blob WHERE cid = $1 FOR UPDATE", cid.as_bytes().as_slice());
    query.execute(conn).await.unwrap();
}

pub(super) async fn blob_state(pool: &PgPool, account: AccountId, cid: Cid) -> String {
    let cid = cid.as_bytes().as_slice();
    let query = sqlx::query_scalar!("SELECT state FROM blob WHERE account_id = $1 AND cid = $2", account.get(), cid);
    query.fetch_one(pool).await.unwrap()
}
