//! The log of events as a test wants it, without what would cause the events.

use std::time::Duration;

use atproto::event::{Event, Kind};
use sqlx::PgPool;

use crate::db::AccountId;

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
