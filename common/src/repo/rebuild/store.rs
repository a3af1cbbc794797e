//! SQL of the rebuild.

use atproto::data::Cid;
use atproto::mst::NewNode;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::mend::Link;
use super::{NewHead, Work};
use crate::db::AccountId;

/// Begins the transaction of a rebuild. Its chunks are joined with tables that are far larger, by their keys.
pub(super) async fn begin(conn: &mut PgConnection) -> sqlx::Result<()> {
    let settings = "BEGIN; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
        SET LOCAL enable_seqscan = off; SET LOCAL jit = off";
    sqlx::raw_sql(settings).execute(conn).await?;
    Ok(())
}

/// The repo's row, which may be damaged.
pub(super) struct LockedHead {
    pub(super) head: Vec<u8>,
    pub(super) rev: String,
    pub(super) commit_block: Vec<u8>,
    pub(super) public_key: Option<String>,
    /// The account is neither deactivated nor taken down.
    pub(super) is_active: bool,
}

/// Locks the repo's row: nobody writes the repo until the transaction ends.
pub(super) async fn lock_head(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<LockedHead>> {
    sqlx::query_as!(
        LockedHead,
        r#"
            SELECT
                r.head, r.rev, r.commit_block, k.public_key AS "public_key?",
                a.deactivated_at IS NULL AND a.takedown_ref IS NULL AS "is_active!"
            FROM repo r
            JOIN account a ON a.id = r.account_id
            LEFT JOIN signing_key k ON k.account_id = r.account_id
            WHERE r.account_id = $1
            FOR UPDATE OF r
        "#,
        account.get(),
    )
    .fetch_optional(conn)
    .await
}

/// Writes the nodes that are not there, or are there with other bytes. Gives their number.
pub(super) async fn upsert_nodes(conn: &mut PgConnection, work: &Work, nodes: &[NewNode]) -> sqlx::Result<u64> {
    let cids: Vec<&[u8]> = nodes.iter().map(|node| node.cid.as_bytes().as_slice()).collect();
    let bytes: Vec<&[u8]> = nodes.iter().map(|node| &*node.bytes).collect();
    let done = sqlx::query!(
        r#"
            INSERT INTO mst_node (account_id, cid, rev, bytes)
            SELECT $1, n.cid, $2, n.bytes
            FROM unnest($3::bytea[], $4::bytea[]) AS n (cid, bytes)
            -- A lookup a row. As a join, planned while the repo has few nodes, it goes through all of them for each.
            WHERE (SELECT t.bytes FROM mst_node t WHERE t.account_id = $1 AND t.cid = n.cid) IS DISTINCT FROM n.bytes
            ON CONFLICT (account_id, cid) DO UPDATE SET rev = excluded.rev, bytes = excluded.bytes
        "#,
        work.repo.account.get(),
        work.rev.to_string(),
        &cids as _,
        &bytes as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes the nodes above `range.0` and up to `range.1`, or above it to the end, whose CIDs are not among `live`.
pub(super) async fn delete_nodes_between(
    conn: &mut PgConnection,
    work: &Work,
    range: (&[u8], Option<&[u8]>),
    live: &[Cid],
) -> sqlx::Result<u64> {
    let live: Vec<&[u8]> = live.iter().map(|cid| cid.as_bytes().as_slice()).collect();
    let done = sqlx::query!(
        r#"
            DELETE FROM mst_node
            WHERE account_id = $1 AND cid > $2 AND ($3::bytea IS NULL OR cid <= $3) AND NOT cid = ANY ($4)
        "#,
        work.repo.account.get(),
        range.0,
        range.1,
        &live as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Writes links, and deletes those that lead nowhere. Gives how many rows that changed.
pub(super) async fn mend_links(conn: &mut PgConnection, work: &Work, links: &[Link]) -> sqlx::Result<u64> {
    let collections: Vec<&str> = links.iter().map(|link| link.collection.as_str()).collect();
    let rkeys: Vec<&str> = links.iter().map(|link| link.rkey.as_str()).collect();
    let targets: Vec<Option<&str>> = links.iter().map(|link| link.target.as_deref()).collect();
    let mut deleted = 0;
    // By equality with one collection: as a join, planned for few rows, each key goes through all links of the account.
    for run in links.chunk_by(|one, next| one.collection == next.collection) {
        let stray = run.iter().filter(|link| link.target.is_none());
        let stray: Vec<&str> = stray.map(|link| link.rkey.as_str()).collect();
        let done = sqlx::query!(
            "DELETE FROM backlink WHERE account_id = $1 AND collection = $2 AND rkey = ANY ($3)",
            work.repo.account.get(),
            run[0].collection,
            &stray as _,
        );
        deleted += done.execute(&mut *conn).await?.rows_affected();
    }
    let written = sqlx::query!(
        r#"
            INSERT INTO backlink (account_id, collection, rkey, target)
            SELECT $1, l.collection, l.rkey, l.target
            FROM unnest($2::text[], $3::text[], $4::text[]) AS l (collection, rkey, target)
            WHERE l.target IS NOT NULL
            ON CONFLICT (account_id, collection, rkey) DO UPDATE SET target = excluded.target
        "#,
        work.repo.account.get(),
        &collections as _,
        &rkeys as _,
        &targets as _,
    )
    .execute(conn)
    .await?;
    Ok(deleted + written.rows_affected())
}

/// Deletes records by collection and key.
pub(super) async fn delete_records(
    conn: &mut PgConnection,
    work: &Work,
    records: &[(String, String)],
) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for run in records.chunk_by(|one, next| one.0 == next.0) {
        let rkeys: Vec<&str> = run.iter().map(|(_, rkey)| rkey.as_str()).collect();
        let done = sqlx::query!(
            "DELETE FROM record WHERE account_id = $1 AND collection = $2 AND rkey = ANY ($3)",
            work.repo.account.get(),
            run[0].0,
            &rkeys as _,
        );
        deleted += done.execute(&mut *conn).await?.rows_affected();
    }
    Ok(deleted)
}

/// Makes the repo's collections those that its records are in. One index probe a collection, however many records there are.
pub(super) async fn refresh_collections(conn: &mut PgConnection, work: &Work) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM repo_collection WHERE account_id = $1", work.repo.account.get())
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        r#"
            WITH RECURSIVE found AS (
                (SELECT collection FROM record WHERE account_id = $1 ORDER BY collection LIMIT 1)
                UNION ALL
                SELECT (
                    SELECT r.collection FROM record r
                    WHERE r.account_id = $1 AND r.collection > found.collection
                    ORDER BY r.collection LIMIT 1
                )
                FROM found
                WHERE found.collection IS NOT NULL
            )
            INSERT INTO repo_collection (account_id, collection)
            SELECT $1, collection FROM found WHERE collection IS NOT NULL
        "#,
        work.repo.account.get(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives the new rev to records and nodes whose rev is above the newest one, or none.
pub(super) async fn update_revs(conn: &mut PgConnection, work: &Work) -> sqlx::Result<()> {
    let new = work.rev.to_string();
    sqlx::query!(
        r#"
            UPDATE record SET rev = $2
            WHERE account_id = $1 AND (rev > $2 OR rev !~ '^[2-7a-j][2-7a-z]{12}$')
        "#,
        work.repo.account.get(),
        new,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
            UPDATE mst_node SET rev = $2
            WHERE account_id = $1 AND (rev > $2 OR rev !~ '^[2-7a-j][2-7a-z]{12}$')
        "#,
        work.repo.account.get(),
        new,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves the head.
pub(super) async fn update_head(conn: &mut PgConnection, work: &Work, head: &NewHead<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
            UPDATE repo SET head = $2, rev = $3, root = $4, commit_block = $5, record_count = $6
            WHERE account_id = $1
        "#,
        work.repo.account.get(),
        head.cid.as_bytes(),
        work.rev.to_string(),
        head.root.as_bytes(),
        head.block,
        i64::try_from(head.records).unwrap_or(i64::MAX),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Appends a `#sync`, if there is one, and commits. Gives its seq.
pub(super) async fn finish(
    conn: &mut PgConnection,
    account: AccountId,
    event: Option<&[u8]>,
) -> sqlx::Result<Option<i64>> {
    let Some(body) = event else {
        sqlx::raw_sql("COMMIT").execute(conn).await?;
        return Ok(None);
    };
    // One message of two statements: the sequencer row stays locked inside the server only, not while an answer and a
    // COMMIT travel, which a stalled client might never send. Such a message takes no parameters; a number and hexadecimal
    // digits need no quoting.
    let body = data_encoding::HEXLOWER.encode(body);
    let statement = format!(
        "SELECT event_append_v1(ARRAY[{}::bigint], ARRAY['#sync'], ARRAY['\\x{body}'::bytea]) AS seq; COMMIT",
        account.get(),
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_all(conn).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get("seq").map(Some)
}
