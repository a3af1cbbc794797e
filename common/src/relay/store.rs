//! All SQL of relays.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Claim, Notice};

/// Adds the relays that are not there.
pub(super) async fn insert_notices(conn: &mut PgConnection, names: &[&str]) -> sqlx::Result<()> {
    let insertion =
        sqlx::query!("INSERT INTO crawl_notice (relay) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", names as _);
    insertion.execute(conn).await?;
    Ok(())
}

/// The relays that may be told now, and do not know of all there is.
///
/// After a restore from a backup the log's head may be below what a relay was told: that is news as well.
pub(super) async fn list_due(conn: &mut PgConnection, names: &[&str]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
            SELECT n.relay
            FROM crawl_notice n CROSS JOIN sequencer s
            WHERE n.relay = ANY ($1) AND n.next_at <= clock_timestamp() AND s.last_seq > 0
                AND (
                    n.told_seq IS DISTINCT FROM s.last_seq
                    OR n.told_at < (SELECT max(w.started_at) FROM worker_lease w)
                )
        "#,
        names as _,
    )
    .fetch_all(conn)
    .await
}

/// Leaves a relay alone for so long, if it is due to be told now, by the same conditions.
pub(super) async fn claim(conn: &mut PgConnection, name: &str, interval: Duration) -> sqlx::Result<Option<Claim>> {
    let row = sqlx::query!(
        r#"
            UPDATE crawl_notice n SET
                next_at = clock_timestamp() + make_interval(secs => $2), claim = n.claim + 1,
                claimed_at = clock_timestamp()
            FROM sequencer s
            WHERE n.relay = $1 AND n.next_at <= clock_timestamp() AND s.last_seq > 0
                AND (
                    n.told_seq IS DISTINCT FROM s.last_seq
                    OR n.told_at < (SELECT max(w.started_at) FROM worker_lease w)
                )
            RETURNING n.claim AS number, s.last_seq AS seq, n.failures
        "#,
        name,
        interval.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Claim { number: row.number, seq: row.seq, failures: row.failures.try_into().unwrap_or(0) }))
}

/// Leaves a relay alone for so long, whether or not it may be told now.
pub(super) async fn claim_now(conn: &mut PgConnection, name: &str, interval: Duration) -> sqlx::Result<Claim> {
    let row = sqlx::query!(
        r#"
            INSERT INTO crawl_notice AS n (relay, next_at, claim, claimed_at)
            VALUES ($1, clock_timestamp() + make_interval(secs => $2), 1, clock_timestamp())
            ON CONFLICT (relay) DO UPDATE SET
                next_at = excluded.next_at, claim = n.claim + 1, claimed_at = excluded.claimed_at
            RETURNING n.claim AS number, (SELECT last_seq FROM sequencer) AS "seq!", n.failures
        "#,
        name,
        interval.as_secs_f64(),
    )
    .fetch_one(conn)
    .await?;
    Ok(Claim { number: row.number, seq: row.seq, failures: row.failures.try_into().unwrap_or(0) })
}

/// False if the relay has been claimed again since: then nothing is noted.
pub(super) async fn update_told(
    conn: &mut PgConnection,
    name: &str,
    claim: Claim,
    interval: Duration,
) -> sqlx::Result<bool> {
    let update = sqlx::query!(
        r#"
            UPDATE crawl_notice SET
                told_at = claimed_at, told_seq = $3, next_at = clock_timestamp() + make_interval(secs => $4),
                failures = 0, last_error = NULL
            WHERE relay = $1 AND claim = $2
        "#,
        name,
        claim.number,
        claim.seq,
        interval.as_secs_f64(),
    );
    Ok(update.execute(conn).await?.rows_affected() > 0)
}

/// False if the relay has been claimed again since: then nothing is noted.
pub(super) async fn update_failed(
    conn: &mut PgConnection,
    name: &str,
    claim: Claim,
    (reason, pause): (&str, Duration),
) -> sqlx::Result<bool> {
    let update = sqlx::query!(
        r#"
            UPDATE crawl_notice SET
                failures = $5, failed_at = clock_timestamp(), last_error = $3,
                next_at = clock_timestamp() + make_interval(secs => $4)
            WHERE relay = $1 AND claim = $2
        "#,
        name,
        claim.number,
        reason,
        pause.as_secs_f64(),
        // Not one more than there are: it may be noted twice.
        i32::try_from(claim.failures.saturating_add(1)).unwrap_or(i32::MAX),
    );
    Ok(update.execute(conn).await?.rows_affected() > 0)
}

pub(super) async fn list_notices(conn: &mut PgConnection, names: &[&str]) -> sqlx::Result<Vec<Notice>> {
    sqlx::query_as!(
        Notice,
        r#"
            SELECT relay, told_at, told_seq, next_at, failures, failed_at, last_error
            FROM crawl_notice
            WHERE relay = ANY ($1)
        "#,
        names as _,
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn upsert_check(
    conn: &mut PgConnection,
    name: &str,
    report: &Value,
    checked_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let upsert = sqlx::query!(
        r#"
            INSERT INTO relay_check (relay, report, checked_at) VALUES ($1, $2, $3)
            ON CONFLICT (relay) DO UPDATE SET report = excluded.report, checked_at = excluded.checked_at
        "#,
        name,
        report,
        checked_at,
    );
    upsert.execute(conn).await?;
    Ok(())
}

pub(super) async fn list_checks(conn: &mut PgConnection, names: &[&str]) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!("SELECT report FROM relay_check WHERE relay = ANY ($1)", names as _).fetch_all(conn).await
}
