//! All SQL that makes and drops partitions of the log.
//!
//! Names of tables and bounds of partitions cannot be bound as parameters, so these statements are built at run time:
//! from numbers, and from names that Postgres itself gave.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::db::PgPool;

/// Begins a step. Whoever waits for a lock holds up all who come after it, so a step gives up soon; and it does not run
/// long.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '5s'";

/// A partition of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Partition {
    /// Its table, quoted if need be.
    pub(super) name: String,
    /// Its first seq.
    pub(super) lower: i64,
    /// The seq after its last.
    pub(super) upper: i64,
}

/// All partitions but the default one, by rising seq.
pub(super) async fn list_partitions(conn: &mut PgConnection) -> sqlx::Result<Vec<Partition>> {
    sqlx::query_as!(
        Partition,
        r#"
            SELECT part.name AS "name!", part.bounds[1]::bigint AS "lower!", part.bounds[2]::bigint AS "upper!"
            FROM (
                SELECT
                    c.oid::regclass::text AS name,
                    regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\) TO \(''(\d+)''\)') AS bounds
                FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'repo_event'::regclass
            ) AS part
            WHERE part.bounds IS NOT NULL
            ORDER BY 2
        "#,
    )
    .fetch_all(conn)
    .await
}

/// The first seq in the default partition; `None` if it is empty, as it should be.
pub(super) async fn find_caught(conn: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("SELECT seq FROM repo_event_default ORDER BY seq LIMIT 1").fetch_optional(conn).await
}

/// Makes the partition of the seqs from `lower` to before `upper`.
///
/// Attached to `repo_event` rather than made as a part of it: that takes a lock which lets reads and appends through.
/// Postgres looks through the default partition for rows of the range, and locks it meanwhile; it is empty, or nearly
/// so. Events are kept in their row as far as a page holds them; see the migration that made the first partitions.
pub(in crate::sequencer) async fn make_partition(pool: &PgPool, lower: i64, upper: i64) -> sqlx::Result<()> {
    let mut conn = pool.acquire().await?;
    let mut transaction = conn.begin_with(BEGIN).await?;
    let statements = format!(
        "CREATE TABLE repo_event_from_{lower:012} (LIKE repo_event INCLUDING ALL)
            WITH (toast_tuple_target = 8160, autovacuum_vacuum_insert_threshold = -1);
        ALTER TABLE repo_event ATTACH PARTITION repo_event_from_{lower:012} FOR VALUES FROM ({lower}) TO ({upper});"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Drops a partition, if it is still there. Needs `repo_event` for itself until the transaction ends; the files go
/// after that.
pub(super) async fn drop_partition(pool: &PgPool, name: &str) -> sqlx::Result<()> {
    let mut conn = pool.acquire().await?;
    let mut transaction = conn.begin_with(BEGIN).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}"))).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Notes that events below `floor` may be missing from now on.
pub(super) async fn raise_floor(conn: &mut PgConnection, floor: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE sequencer SET floor_seq = $1 WHERE floor_seq < $1", floor).execute(conn).await?;
    Ok(())
}

/// Deletes some events before `seq` from the default partition; gives how many.
pub(super) async fn delete_caught(conn: &mut PgConnection, before: i64, limit: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
            DELETE FROM repo_event_default
            WHERE seq IN (SELECT seq FROM repo_event_default WHERE seq < $1 ORDER BY seq LIMIT $2)
        "#,
        before,
        limit,
    );
    Ok(deleted.execute(conn).await?.rows_affected())
}
