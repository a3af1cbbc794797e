//! All SQL of jobs.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;

use super::{Claim, Filter, Letter, QueueDepth, State};

/// Enqueues a job; one of the same key that waits takes its place.
pub(super) async fn enqueue(
    conn: &mut PgConnection,
    kind: &str,
    payload: &Value,
    dedupe_key: Option<&str>,
    delay: Duration,
) -> sqlx::Result<()> {
    let call = sqlx::query!(
        "SELECT job_enqueue_v1($1, $2, $3, make_interval(secs => $4))",
        kind,
        payload,
        dedupe_key,
        delay.as_secs_f64(),
    );
    call.fetch_one(conn).await?;
    Ok(())
}

/// Claims the job of the first kind that has one due, for a worker that is alive. Those that others claim right now are
/// skipped, and those of whose key another runs.
///
/// Kind by kind, so that a kind with a long queue that is not wanted now costs nothing.
pub(super) async fn claim(
    conn: &mut PgConnection,
    worker: i64,
    kinds: &[&str],
    lease: Duration,
) -> sqlx::Result<Option<Claim>> {
    let row = sqlx::query!(
        r#"
            WITH due AS (
                SELECT first.id
                FROM unnest($2::text[]) AS wanted (kind)
                CROSS JOIN LATERAL (
                    SELECT id
                    FROM job
                    WHERE kind = wanted.kind AND dead_at IS NULL AND run_at <= clock_timestamp()
                        AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
                        AND NOT EXISTS (
                            SELECT FROM job other
                            WHERE other.kind = job.kind AND other.dedupe_key = job.dedupe_key
                                AND other.claimed_by IS NOT NULL AND other.id <> job.id
                                -- One whose worker is gone comes before those that wait.
                                AND (job.claimed_by IS NULL OR other.claimed_until > clock_timestamp())
                        )
                    ORDER BY kind, run_at, id
                    LIMIT 1
                    FOR UPDATE SKIP LOCKED
                ) first
                LIMIT 1
            )
            UPDATE job j SET
                claimed_by = $1, claimed_until = clock_timestamp() + make_interval(secs => $3), attempts = attempts + 1
            FROM due
            WHERE j.id = due.id
                AND EXISTS (SELECT FROM worker_lease WHERE id = $1 AND expires_at > clock_timestamp())
            RETURNING j.id, j.kind, j.payload, j.attempts, j.created_at
        "#,
        worker,
        kinds as _,
        lease.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Claim {
        id: row.id,
        kind: row.kind,
        payload: row.payload,
        attempts: u32::try_from(row.attempts).unwrap_or(1),
        created_at: row.created_at,
    }))
}

/// Removes a job that is done, if it is still this worker's.
pub(super) async fn delete_done(conn: &mut PgConnection, worker: i64, id: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM job WHERE id = $2 AND claimed_by = $1", worker, id).execute(conn).await?;
    Ok(())
}

/// Makes a job a dead letter, if it is still this worker's.
pub(super) async fn update_dead(conn: &mut PgConnection, worker: i64, id: i64, reason: &str) -> sqlx::Result<()> {
    let update = sqlx::query!(
        r#"
            UPDATE job SET
                claimed_by = NULL, claimed_until = NULL, last_error = $3, failed_at = clock_timestamp(),
                dead_at = clock_timestamp()
            WHERE id = $2 AND claimed_by = $1
        "#,
        worker,
        id,
        reason,
    );
    update.execute(conn).await?;
    Ok(())
}

/// Lets a job wait again, if it is still this worker's. If one of its key was enqueued meanwhile, that one does for both.
///
/// Fails with a unique violation if that happens at this very moment.
pub(super) async fn update_waiting(
    conn: &mut PgConnection,
    worker: i64,
    id: i64,
    reason: &str,
    pause: Duration,
) -> sqlx::Result<()> {
    let update = sqlx::query!(
        r#"
            WITH mine AS (
                SELECT
                    j.id,
                    EXISTS (
                        SELECT FROM job other
                        WHERE other.kind = j.kind AND other.dedupe_key = j.dedupe_key AND other.dedupe_key IS NOT NULL
                            AND other.claimed_by IS NULL AND other.dead_at IS NULL
                    ) AS is_replaced
                FROM job j
                WHERE j.id = $2 AND j.claimed_by = $1
            ), replaced AS (
                DELETE FROM job USING mine WHERE job.id = mine.id AND mine.is_replaced
            )
            UPDATE job SET
                claimed_by = NULL, claimed_until = NULL, last_error = $3, failed_at = clock_timestamp(),
                run_at = clock_timestamp() + make_interval(secs => $4)
            FROM mine
            WHERE job.id = mine.id AND job.claimed_by = $1 AND NOT mine.is_replaced
        "#,
        worker,
        id,
        reason,
        pause.as_secs_f64(),
    );
    update.execute(conn).await?;
    Ok(())
}

/// A page of jobs by number.
pub(super) async fn list(
    conn: &mut PgConnection,
    filter: Filter<'_>,
    after: i64,
    limit: u16,
) -> sqlx::Result<Vec<Letter>> {
    let rows = sqlx::query!(
        r#"
            SELECT
                j.id, j.kind, j.payload, j.dedupe_key, j.created_at, j.run_at, j.attempts, j.last_error, j.failed_at,
                j.dead_at IS NOT NULL AS "is_dead!",
                COALESCE(j.claimed_until > clock_timestamp(), false) AS "is_running!",
                w.name AS "worker?"
            FROM job j
            LEFT JOIN worker_lease w ON w.id = j.claimed_by AND j.claimed_until > clock_timestamp()
            WHERE j.id > $4 AND ($1::bigint IS NULL OR j.id = $1) AND ($2::text IS NULL OR j.kind = $2)
                AND (NOT $3::boolean OR j.dead_at IS NOT NULL)
            ORDER BY j.id
            LIMIT $5
        "#,
        filter.id,
        filter.kind,
        filter.dead,
        after,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    let letters = rows.into_iter().map(|row| Letter {
        id: row.id,
        kind: row.kind,
        state: State::of(row.is_dead, row.is_running),
        payload: row.payload,
        dedupe_key: row.dedupe_key,
        created_at: row.created_at,
        run_at: row.run_at,
        attempts: row.attempts,
        worker: row.worker,
        last_error: row.last_error,
        failed_at: row.failed_at,
    });
    Ok(letters.collect())
}

/// Makes the chosen jobs due that nobody does; gives how many.
///
/// Fails with a unique violation if one of the same key is enqueued at this very moment.
pub(super) async fn revive(conn: &mut PgConnection, filter: Filter<'_>) -> sqlx::Result<u64> {
    let Filter { id, kind, dead } = filter;
    let revival = sqlx::query!(
        r#"
            WITH chosen AS (
                SELECT
                    j.id, j.dead_at,
                    j.dead_at IS NOT NULL AND j.dedupe_key IS NOT NULL AND EXISTS (
                        SELECT FROM job other
                        WHERE other.kind = j.kind AND other.dedupe_key = j.dedupe_key AND other.id <> j.id AND (
                            other.dead_at IS NULL AND other.claimed_by IS NULL
                            OR other.dead_at IS NOT NULL AND other.id > j.id AND ($1::bigint IS NULL OR other.id = $1)
                        )
                    ) AS is_replaced
                FROM job j
                WHERE ($1::bigint IS NULL OR j.id = $1) AND ($2::text IS NULL OR j.kind = $2)
                    AND (NOT $3::boolean OR j.dead_at IS NOT NULL)
                    AND (j.claimed_until IS NULL OR j.claimed_until <= clock_timestamp())
                FOR UPDATE SKIP LOCKED
            ), replaced AS (
                DELETE FROM job USING chosen WHERE job.id = chosen.id AND chosen.is_replaced
            ), revived AS (
                UPDATE job SET
                    run_at = LEAST(job.run_at, clock_timestamp()), dead_at = NULL,
                    attempts = CASE WHEN chosen.dead_at IS NULL THEN job.attempts ELSE 0 END
                FROM chosen
                WHERE job.id = chosen.id AND NOT chosen.is_replaced
                RETURNING job.id
            )
            SELECT count(*) AS "count!", pg_notify('job', '')::text AS notified FROM revived
        "#,
        id,
        kind,
        dead,
    );
    let revived = revival.fetch_one(conn).await?;
    Ok(u64::try_from(revived.count).unwrap_or(0))
}

/// Removes a job that nobody does; false if there is none.
pub(super) async fn delete_idle(conn: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
    let deletion = sqlx::query!(
        "DELETE FROM job WHERE id = $1 AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())",
        id,
    );
    Ok(deletion.execute(conn).await?.rows_affected() > 0)
}

/// How many jobs there are, by kind.
pub(super) async fn list_depths(conn: &mut PgConnection) -> sqlx::Result<Vec<QueueDepth>> {
    sqlx::query_as!(
        QueueDepth,
        r#"
            SELECT
                kind,
                count(*) FILTER (WHERE dead_at IS NULL AND NOT is_running) AS "waiting!",
                count(*) FILTER (WHERE dead_at IS NULL AND is_running) AS "running!",
                count(*) FILTER (WHERE dead_at IS NOT NULL) AS "dead!",
                GREATEST(0, EXTRACT(epoch FROM clock_timestamp()
                    - min(run_at) FILTER (WHERE dead_at IS NULL AND NOT is_running)))::bigint AS "overdue_seconds!"
            FROM (
                SELECT kind, dead_at, run_at, COALESCE(claimed_until > clock_timestamp(), false) AS is_running FROM job
            ) seen
            GROUP BY kind
        "#,
    )
    .fetch_all(conn)
    .await
}
