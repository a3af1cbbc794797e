//! Workers that die.

use chrono::{DateTime, Utc};

use crate::db::PgPool;

/// Ends the leases of the workers of this name, and their claims, as if they had not been heard of for long.
///
/// # Panics
/// If Postgres refuses.
pub async fn lapse_lease(pool: &PgPool, name: &str) {
    let update = sqlx::query!(
        r#"
            WITH lapsed AS (
                UPDATE worker_lease SET expires_at = clock_timestamp() WHERE name = $1 RETURNING id
            ), jobs AS (
                UPDATE job SET claimed_until = clock_timestamp() FROM lapsed WHERE claimed_by = lapsed.id
            )
            UPDATE job_schedule SET claimed_until = clock_timestamp() FROM lapsed WHERE claimed_by = lapsed.id
        "#,
        name,
    );
    update.execute(pool).await.expect("an update");
}

/// Ends the leases of all workers, as if Postgres had not heard of them for long.
///
/// # Panics
/// If Postgres refuses.
pub async fn lapse_leases(pool: &PgPool) {
    let update = sqlx::query!("UPDATE worker_lease SET expires_at = clock_timestamp()");
    update.execute(pool).await.expect("an update");
}

/// How many workers have a lease.
///
/// # Panics
/// If Postgres refuses.
pub async fn live_workers(pool: &PgPool) -> i64 {
    let query =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM worker_lease WHERE expires_at > clock_timestamp()"#);
    query.fetch_one(pool).await.expect("a row")
}

/// Lets the claims of all jobs run out, though the leases of their workers last.
///
/// # Panics
/// If Postgres refuses.
pub async fn end_claims(pool: &PgPool) {
    let update = sqlx::query!("UPDATE job SET claimed_until = clock_timestamp() WHERE claimed_by IS NOT NULL");
    update.execute(pool).await.expect("an update");
}

/// When the last run of a schedule ended; `None` if none has.
///
/// # Panics
/// If Postgres refuses.
pub async fn finished_at(pool: &PgPool, schedule: &str) -> Option<DateTime<Utc>> {
    let query = sqlx::query_scalar!("SELECT finished_at FROM job_schedule WHERE name = $1", schedule);
    query.fetch_optional(pool).await.expect("a row").flatten()
}

/// Lets the claims of all imports run out, as if their replicas had not been heard of for long.
///
/// # Panics
/// If Postgres refuses.
pub async fn lapse_imports(pool: &PgPool) {
    let update = sqlx::query!("UPDATE repo_import SET leased_until = clock_timestamp()");
    update.execute(pool).await.expect("an update");
}

/// How many imports are under way, or seem so.
///
/// # Panics
/// If Postgres refuses.
pub async fn claimed_imports(pool: &PgPool) -> i64 {
    let query = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM repo_import"#);
    query.fetch_one(pool).await.expect("a count")
}
