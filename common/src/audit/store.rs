//! All SQL of the audit log.

use atproto::syntax::Did;
use sqlx::PgConnection;

use super::{Act, Entry, Filter};

/// The outcome of an act that its own transaction records.
pub(super) const DONE: &str = "done";
/// The outcome of an act that begins.
pub(super) const BEGUN: &str = "begun";

/// Adds an entry, and gives its number.
pub(super) async fn insert(conn: &mut PgConnection, act: &Act, outcome: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
            INSERT INTO audit_log (actor, action, subject, did, outcome, before, after)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            RETURNING id
        "#,
        act.actor.to_string(),
        act.action.name(),
        act.subject.to_string(),
        act.subject.did().map(Did::as_str),
        outcome,
        act.before,
        act.after,
    )
    .fetch_one(conn)
    .await
}

/// Adds the end of an act that began: done, or failed for this reason.
pub(super) async fn insert_end(conn: &mut PgConnection, begun: i64, reason: Option<&str>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
            INSERT INTO audit_log (actor, action, subject, did, before, after, outcome, begun_id, reason)
            SELECT
                actor, action, subject, did, before, after,
                CASE WHEN $2::text IS NULL THEN 'done' ELSE 'failed' END, id, $2
            FROM audit_log
            WHERE id = $1
        "#,
        begun,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Entries that `$key` picks (`$condition` has it as `$1`), the newest first.
macro_rules! list {
    ($conn:expr, $condition:literal, $key:expr, $filter:expr, $limit:expr) => {
        sqlx::query_as!(
            Entry,
            r#"
                SELECT id, at, actor, action, subject, did, outcome, begun_id, before, after, reason
                FROM audit_log
                WHERE id < coalesce($2::bigint, 9223372036854775807) AND ($3::text IS NULL OR actor = $3) AND "#
                + $condition
                + " ORDER BY id DESC LIMIT $4",
            $key,
            $filter.before,
            $filter.actor,
            $limit,
        )
        .fetch_all($conn)
        .await
    };
}

/// As [`super::AuditLog::list`], without regard to the time. Whatever picks the fewest entries leads to an index.
pub(super) async fn list(conn: &mut PgConnection, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Entry>> {
    match (&filter.subject, &filter.actor) {
        (Some(did), _) if did.starts_with("did:") && !did.contains('/') => {
            list!(conn, "did = $1", did, filter, limit)
        }
        (Some(subject), _) => list!(conn, "subject = $1", subject, filter, limit),
        (None, Some(actor)) => list!(conn, "actor = $1", actor, filter, limit),
        (None, None) => list!(conn, "$1::text IS NULL", None::<&str>, filter, limit),
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::{Act, Action, Actor, AuditLog, Filter, Subject};
    use crate::testing::TestDb;

    #[tokio::test]
    async fn nobody_changes_what_was_said() {
        let db = TestDb::create().await;
        let log = AuditLog::new(db.pool());
        log.record(&Act::new(Actor::Admin, Action::RequestCrawl, Subject::Server)).await.unwrap();
        let mut conn = db.pool().acquire().await.unwrap();
        for statement in ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
            let error = sqlx::raw_sql(statement).execute(&mut *conn).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
        assert_eq!(log.list(&Filter::default(), 10).await.unwrap().len(), 1);
    }
}
