//! SQL of the operator's view.

use sqlx::PgConnection;

use super::{Hints, Mark, Moved, Partition};

/// The oldest event that is kept.
pub(super) async fn find_oldest(conn: &mut PgConnection) -> sqlx::Result<Option<Mark>> {
    sqlx::query_as!(Mark, "SELECT seq, created_at AS at FROM repo_event ORDER BY seq LIMIT 1")
        .fetch_optional(conn)
        .await
}

/// The newest event.
pub(super) async fn find_newest_mark(conn: &mut PgConnection) -> sqlx::Result<Option<Mark>> {
    sqlx::query_as!(Mark, "SELECT seq, created_at AS at FROM repo_event ORDER BY seq DESC LIMIT 1")
        .fetch_optional(conn)
        .await
}

/// The partitions by rising number, the default one last. Events are counted by the numbers at both ends.
pub(super) async fn list_partitions(conn: &mut PgConnection) -> sqlx::Result<Vec<Partition>> {
    sqlx::query_as!(
        Partition,
        r#"
            SELECT
                part.name AS "name!", part.lower, part.upper,
                coalesce(last.seq - first.seq + 1, 0) AS "events!",
                pg_total_relation_size(part.oid) AS "bytes!"
            FROM (
                SELECT
                    c.oid, c.oid::regclass::text AS name,
                    substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''(\d+)''\)')::bigint AS lower,
                    substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(\d+)''\)')::bigint AS upper
                FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'repo_event'::regclass
            ) AS part
            LEFT JOIN LATERAL (
                (SELECT e.seq FROM repo_event e WHERE e.seq >= part.lower AND e.seq < part.upper ORDER BY e.seq LIMIT 1)
                UNION ALL
                (SELECT d.seq FROM repo_event_default d WHERE part.lower IS NULL ORDER BY d.seq LIMIT 1)
            ) AS first ON true
            LEFT JOIN LATERAL (
                (
                    SELECT e.seq FROM repo_event e
                    WHERE e.seq >= part.lower AND e.seq < part.upper ORDER BY e.seq DESC LIMIT 1
                )
                UNION ALL
                (SELECT d.seq FROM repo_event_default d WHERE part.lower IS NULL ORDER BY d.seq DESC LIMIT 1)
            ) AS last ON true
            ORDER BY part.lower NULLS LAST
        "#,
    )
    .fetch_all(conn)
    .await
}

/// What may hold the stream up.
pub(super) async fn find_hints(conn: &mut PgConnection) -> sqlx::Result<Hints> {
    sqlx::query_as!(
        Hints,
        r#"
            SELECT
                count(*) FILTER (WHERE wait_event_type = 'Lock') AS "waiting_sessions!",
                coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0)::float8
                    AS "oldest_transaction_seconds!",
                pg_notification_queue_usage() AS "notification_queue!"
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
        "#,
    )
    .fetch_one(conn)
    .await
}

/// Moves the newest number up to `to`; `None` if it is there already.
pub(super) async fn move_to(conn: &mut PgConnection, to: i64) -> sqlx::Result<Option<Moved>> {
    sqlx::query_as!(
        Moved,
        r#"
            UPDATE sequencer s SET last_seq = $1
            FROM (SELECT last_seq FROM sequencer FOR UPDATE) AS old
            WHERE old.last_seq < $1
            RETURNING old.last_seq AS before, s.last_seq AS after
        "#,
        to,
    )
    .fetch_optional(conn)
    .await
}

/// Moves the newest number up by `by`, but not beyond `max`; `None` if it would go there.
pub(super) async fn move_by(conn: &mut PgConnection, by: i64, max: i64) -> sqlx::Result<Option<Moved>> {
    sqlx::query_as!(
        Moved,
        r#"
            UPDATE sequencer s SET last_seq = s.last_seq + $1::bigint
            WHERE s.last_seq <= $2::bigint - $1::bigint
            RETURNING s.last_seq - $1::bigint AS "before!", s.last_seq AS after
        "#,
        by,
        max,
    )
    .fetch_optional(conn)
    .await
}
