//! The log of events as a test wants it, without what would cause the events.

use std::time::Duration;

use atproto::event::{Event, Kind};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::db::{AccountId, PgPool};

/// Appends events to the log as one statement, without causing them; gives the seq of the last.
///
/// # Panics
/// If Postgres refuses.
pub async fn append(pool: &PgPool, account: AccountId, events: &[Event]) -> i64 {
    let bodies: Vec<_> = events.iter().map(|event| (event.kind(), event.encode())).collect();
    append_bodies(pool, account, &bodies).await
}

/// Appends bodies to the log that need not be those of events.
///
/// # Panics
/// If Postgres refuses.
pub async fn append_bodies(pool: &PgPool, account: AccountId, bodies: &[(Kind, Vec<u8>)]) -> i64 {
    let accounts = vec![account.get(); bodies.len()];
    let (kinds, bodies): (Vec<_>, Vec<_>) = bodies.iter().map(|(kind, body)| (kind.name(), body.as_slice())).unzip();
    let query =
        sqlx::query_scalar!(r#"SELECT event_append_v1($1, $2, $3) AS "last!""#, &accounts, &kinds as _, &bodies as _,);
    query.fetch_one(pool).await.expect("a seq")
}

/// Makes the events up to `seq` older than they are.
///
/// # Panics
/// If Postgres refuses.
pub async fn age(pool: &PgPool, seq: i64, by: Duration) {
    let query = sqlx::query!(
        "UPDATE repo_event SET created_at = created_at - make_interval(secs => $2) WHERE seq <= $1",
        seq,
        by.as_secs_f64(),
    );
    query.execute(pool).await.expect("an update");
}

/// Removes the events up to `seq` from the log, as the deletion of their account does.
///
/// # Panics
/// If Postgres refuses.
pub async fn delete(pool: &PgPool, seq: i64) {
    sqlx::query!("DELETE FROM repo_event WHERE seq <= $1", seq).execute(pool).await.expect("a deletion");
}

/// Drops the events up to `seq` for their age.
///
/// # Panics
/// If Postgres refuses.
pub async fn drop_through(pool: &PgPool, seq: i64) {
    sqlx::query!("UPDATE sequencer SET floor_seq = $1::bigint + 1", seq).execute(pool).await.expect("an update");
    delete(pool, seq).await;
}

/// Appends events of a kind that this release does not know.
///
/// # Panics
/// If Postgres refuses.
pub async fn append_of_later_release(pool: &PgPool, account: AccountId, count: usize) {
    let allow = "ALTER TABLE repo_event DROP CONSTRAINT IF EXISTS repo_event_kind_check";
    sqlx::raw_sql(allow).execute(pool).await.expect("a change of the table");
    let (accounts, kinds) = (vec![account.get(); count], vec!["#later"; count]);
    let query = sqlx::query!("SELECT event_append_v1($1, $2, $3)", &accounts, &kinds as _, &vec![vec![0xa0_u8]; count]);
    query.fetch_one(pool).await.expect("appended events");
}

/// Lets the next event be numbered after `seq`, as after a restore from a backup.
///
/// # Panics
/// If Postgres refuses.
pub async fn skip_to(pool: &PgPool, seq: i64) {
    sqlx::query!("UPDATE sequencer SET last_seq = $1", seq).execute(pool).await.expect("an update");
}

/// Removes the events from `first` to `last`.
///
/// # Panics
/// If Postgres refuses.
pub async fn delete_range(pool: &PgPool, first: i64, last: i64) {
    let query = sqlx::query!("DELETE FROM repo_event WHERE seq BETWEEN $1 AND $2", first, last);
    query.execute(pool).await.expect("a deletion");
}

/// Appends an event within a transaction of the caller's.
///
/// # Panics
/// If Postgres refuses.
pub async fn append_uncommitted(conn: &mut PgConnection, account: AccountId) {
    let query = sqlx::query!(
        "SELECT event_append_v1(ARRAY[$1::bigint], ARRAY['#identity'], ARRAY['\\xa0'::bytea])",
        account.get()
    );
    query.fetch_one(conn).await.expect("an appended event");
}

/// How Postgres would read a page after `seq`, in a session of this pool.
///
/// # Panics
/// If Postgres refuses.
pub async fn explain_page(pool: &PgPool, seq: i64) -> String {
    // EXPLAIN takes no parameters; a prepared statement gets the plan that the sessions use.
    let statements = format!(
        "PREPARE page AS SELECT seq, kind, body FROM repo_event WHERE seq > $1 ORDER BY seq LIMIT $2;
        EXPLAIN (COSTS OFF) EXECUTE page({seq}, 500);"
    );
    let mut conn = pool.acquire().await.expect("a connection");
    let rows = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(&mut *conn).await.expect("a plan");
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}
