//! All SQL of workers and schedules.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Ending;

/// Enters a worker, which started then or just now, and whose lease lasts so long from now.
pub(super) async fn insert_worker(
    conn: &mut PgConnection,
    name: &str,
    started_at: Option<DateTime<Utc>>,
    lease: Duration,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
            INSERT INTO worker_lease (name, started_at, expires_at)
            VALUES ($1, coalesce($2, clock_timestamp()), clock_timestamp() + make_interval(secs => $3))
            RETURNING id
        "#,
        name,
        started_at,
        lease.as_secs_f64(),
    )
    .fetch_one(conn)
    .await
}

/// Lets a lease, and all that was claimed under it, last so long from now; false if it was over.
pub(super) async fn renew_worker(conn: &mut PgConnection, id: i64, lease: Duration) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
            WITH renewed AS (
                UPDATE worker_lease SET expires_at = clock_timestamp() + make_interval(secs => $2)
                WHERE id = $1 AND expires_at > clock_timestamp()
                RETURNING id, expires_at
            ), claims AS (
                UPDATE job_schedule SET claimed_until = renewed.expires_at
                FROM renewed
                WHERE claimed_by = renewed.id
            ), jobs AS (
                UPDATE job SET claimed_until = renewed.expires_at
                FROM renewed
                WHERE claimed_by = renewed.id
            )
            SELECT EXISTS (SELECT FROM renewed) AS "is_renewed!"
        "#,
        id,
        lease.as_secs_f64(),
    )
    .fetch_one(conn)
    .await
}

/// Forgets the workers whose lease has been over for a day.
pub(super) async fn delete_expired(conn: &mut PgConnection) -> sqlx::Result<()> {
    let deletion = sqlx::query!("DELETE FROM worker_lease WHERE expires_at < clock_timestamp() - interval '1 day'");
    deletion.execute(conn).await?;
    Ok(())
}

/// Forgets a worker, and frees what it claimed. A job keeps its mark, as if the claim had run out: without one it would
/// wait, and of one key another may wait already. It was not its fault, so it does not count as a try.
/// Gives when the worker started, if it was known.
pub(super) async fn delete_worker(conn: &mut PgConnection, id: i64) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"
            WITH freed AS (
                UPDATE job_schedule SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by = $1
            ), jobs AS (
                UPDATE job SET claimed_until = clock_timestamp(), attempts = attempts - 1 WHERE claimed_by = $1
            )
            DELETE FROM worker_lease WHERE id = $1 RETURNING started_at
        "#,
        id,
    )
    .fetch_optional(conn)
    .await
}

/// Adds the schedules that are not there.
pub(super) async fn insert_schedules(conn: &mut PgConnection, names: &[&str]) -> sqlx::Result<()> {
    let insertion =
        sqlx::query!("INSERT INTO job_schedule (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", names as _,);
    insertion.execute(conn).await?;
    Ok(())
}

/// Claims the schedule that has been due longest, for a worker that is alive; those that others claim right now are skipped.
pub(super) async fn claim_schedule(
    conn: &mut PgConnection,
    worker: i64,
    names: &[&str],
    lease: Duration,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"
            WITH due AS (
                SELECT name
                FROM job_schedule
                WHERE name = ANY($2) AND next_run_at <= clock_timestamp()
                    AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
                ORDER BY next_run_at
                LIMIT 1
                FOR UPDATE SKIP LOCKED
            )
            UPDATE job_schedule s SET
                claimed_by = $1, claimed_until = clock_timestamp() + make_interval(secs => $3)
            FROM due
            WHERE s.name = due.name
                AND EXISTS (SELECT FROM worker_lease WHERE id = $1 AND expires_at > clock_timestamp())
            RETURNING s.name
        "#,
        worker,
        names as _,
        lease.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await
}

/// Gives a schedule back, if it is still this worker's.
pub(super) async fn finish_schedule(
    conn: &mut PgConnection,
    worker: i64,
    name: &str,
    ending: Ending<'_>,
    pause: Duration,
) -> sqlx::Result<()> {
    let (outcome, is_failure) = match ending {
        Ending::Done(text) => (text, false),
        Ending::Failed(text) => (text, true),
    };
    let update = sqlx::query!(
        r#"
            UPDATE job_schedule SET
                claimed_by = NULL, claimed_until = NULL, finished_at = clock_timestamp(), outcome = $3,
                failures = CASE WHEN $4 THEN failures + 1 ELSE 0 END,
                next_run_at = clock_timestamp() + make_interval(secs => $5)
            WHERE name = $2 AND claimed_by = $1
        "#,
        worker,
        name,
        outcome,
        is_failure,
        pause.as_secs_f64(),
    );
    update.execute(conn).await?;
    Ok(())
}

/// How often a schedule failed in a row.
pub(super) async fn find_failures(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!("SELECT failures FROM job_schedule WHERE name = $1", name).fetch_optional(conn).await
}

/// Makes a schedule due.
pub(super) async fn hasten_schedule(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let update = sqlx::query!("UPDATE job_schedule SET next_run_at = clock_timestamp() WHERE name = $1", name);
    update.execute(conn).await?;
    Ok(())
}
