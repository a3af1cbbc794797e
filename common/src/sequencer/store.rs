//! All SQL of the sequencer's log.

use atproto::event::Kind;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoredEvent;

/// The newest seq.
pub(super) async fn find_newest(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!("SELECT last_seq FROM sequencer").fetch_one(conn).await
}

/// Events in order, from after `seq`: at most `limit`, and no more than one beyond `bytes` of bodies.
pub(super) async fn list_after(
    conn: &mut PgConnection,
    seq: i64,
    limit: i64,
    bytes: i64,
) -> sqlx::Result<Vec<StoredEvent>> {
    let rows = sqlx::query!(
        r#"
            SELECT seq, kind, body
            FROM (
                SELECT
                    seq, kind, body,
                    sum(octet_length(body)) OVER (
                        ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ) AS bytes_before
                FROM (SELECT seq, kind, body FROM repo_event WHERE seq > $1 ORDER BY seq LIMIT $2) AS page
            ) AS counted
            WHERE coalesce(bytes_before, 0) < $3
            ORDER BY seq
        "#,
        seq,
        limit,
        bytes,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let unknown = || sqlx::Error::Decode(format!("unknown kind of event: {}", row.kind).into());
            let kind = Kind::from_name(&row.kind).ok_or_else(unknown)?;
            Ok(StoredEvent { seq: row.seq, kind, body: row.body })
        })
        .collect()
}

/// When the first event after `seq` was numbered.
pub(super) async fn find_time_after(conn: &mut PgConnection, seq: i64) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT created_at FROM repo_event WHERE seq > $1 ORDER BY seq LIMIT 1", seq)
        .fetch_optional(conn)
        .await
}

/// The first seq numbered at `time` or later. Times rise with seqs, but for a clock set back: hence the minimum.
pub(super) async fn find_first_since(conn: &mut PgConnection, time: DateTime<Utc>) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"
            SELECT min(seq) FROM (
                SELECT seq FROM repo_event WHERE created_at >= $1 ORDER BY created_at LIMIT 1000
            ) AS first
        "#,
        time,
    )
    .fetch_one(conn)
    .await
}
