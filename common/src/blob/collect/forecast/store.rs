//! The SQL of forecasts.

use sqlx::PgConnection;

use super::Forecast;
use crate::blob::collect::Grace;
use crate::blob::collect::report::Tally;
use crate::blob::collect::store::{TallyColumns, count};

/// What is due for one of the steps, as Postgres counts it.
struct Due {
    step: i32,
    blobs: i64,
    bytes: i64,
}

/// As [`super::super::Collector::forecast`].
pub(super) async fn find(conn: &mut PgConnection, grace: &Grace) -> sqlx::Result<Forecast> {
    let [unreferenced, dereferenced, expired] = tally_due(conn, grace).await?;
    let quarantined = tally_quarantined(conn).await?;
    Ok(Forecast { unreferenced, dereferenced, quarantined, expired, objects: count_doomed(conn).await? })
}

/// What is due for a step and is not referred to: uploads that no record came to refer to, blobs that lost their last
/// reference, and what has been in quarantine for long enough.
async fn tally_due(conn: &mut PgConnection, grace: &Grace) -> sqlx::Result<[Tally; 3]> {
    let rows = sqlx::query_as!(
        Due,
        r#"
            WITH due AS (
                SELECT 0 AS step, b.account_id, b.cid, b.size, b.takedown_ref
                FROM blob b
                WHERE b.state = 'temporary' AND b.delete_after IS NULL
                    AND b.created_at < clock_timestamp() - make_interval(secs => $1)
                UNION ALL
                SELECT 1, b.account_id, b.cid, b.size, b.takedown_ref
                FROM (SELECT account_id, cid, max(created_at) AS last FROM blob_dereference GROUP BY account_id, cid) d
                JOIN blob b ON b.account_id = d.account_id AND b.cid = d.cid
                WHERE d.last < clock_timestamp() - make_interval(secs => $2) AND b.state = 'permanent'
                UNION ALL
                SELECT 2, b.account_id, b.cid, b.size, b.takedown_ref
                FROM blob b
                WHERE b.delete_after <= clock_timestamp()
            )
            SELECT d.step AS "step!", count(*) AS "blobs!", sum(d.size)::bigint AS "bytes!"
            FROM due d
            WHERE d.takedown_ref IS NULL
                AND EXISTS (SELECT FROM account a WHERE a.id = d.account_id)
                AND NOT EXISTS (SELECT FROM record_blob r WHERE r.account_id = d.account_id AND r.cid = d.cid)
            GROUP BY d.step
        "#,
        grace.unreferenced.as_secs_f64(),
        grace.dereferenced.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?;
    let mut steps = [Tally::default(); 3];
    for Due { step, blobs, bytes } in rows {
        if let Some(place) = usize::try_from(step).ok().and_then(|step| steps.get_mut(step)) {
            *place = TallyColumns { blobs, bytes }.tally()?;
        }
    }
    Ok(steps)
}

async fn tally_quarantined(conn: &mut PgConnection) -> sqlx::Result<Tally> {
    sqlx::query_as!(
        TallyColumns,
        r#"
            SELECT count(*) AS "blobs!", coalesce(sum(size), 0)::bigint AS "bytes!"
            FROM blob
            WHERE delete_after IS NOT NULL
        "#,
    )
    .fetch_one(conn)
    .await?
    .tally()
}

async fn count_doomed(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let query = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM blob_deletion WHERE deleted_at IS NULL"#);
    count(query.fetch_one(conn).await?)
}
