//! The SQL that reads the state of repositories: heads, nodes, values, links.

use atproto::data::Cid;
use atproto::syntax::{Nsid, RecordKey, Tid};
use sqlx::PgConnection;

use crate::db::{AccountId, CidColumn, TextColumn};

/// Where a repo stands: what the next commit is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) cid: Cid,
    pub(super) rev: Tid,
    pub(super) root: Cid,
}

/// The repo's current head as Postgres has it; `None` if there is no such repo.
pub(super) async fn find_head(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<Head>> {
    let row = sqlx::query!(
        r#"
            SELECT head AS "head: CidColumn", rev AS "rev: TextColumn<Tid>", root AS "root: CidColumn"
            FROM repo
            WHERE account_id = $1
        "#,
        account.get(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Head { cid: row.head.0, rev: row.rev.0, root: row.root.0 }))
}

/// The block of the repo's newest commit, with its CID and rev.
pub(super) async fn find_commit(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<(Head, Vec<u8>)>> {
    let row = sqlx::query!(
        r#"
            SELECT head AS "head: CidColumn", rev AS "rev: TextColumn<Tid>", root AS "root: CidColumn", commit_block
            FROM repo
            WHERE account_id = $1
        "#,
        account.get(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (Head { cid: row.head.0, rev: row.rev.0, root: row.root.0 }, row.commit_block)))
}

/// A tree node as it is stored.
pub(super) struct StoredNode {
    pub(super) cid: Cid,
    /// Rev of the commit that brought it.
    pub(super) rev: Tid,
    pub(super) bytes: Vec<u8>,
}

/// The tree nodes with these CIDs, in no particular order; missing ones are left out.
pub(super) async fn list_nodes(
    conn: &mut PgConnection,
    account: AccountId,
    cids: &[Cid],
) -> sqlx::Result<Vec<StoredNode>> {
    let wanted: Vec<&[u8]> = cids.iter().map(|cid| cid.as_bytes().as_slice()).collect();
    let rows = sqlx::query!(
        r#"
            SELECT cid AS "cid: CidColumn", rev AS "rev: TextColumn<Tid>", bytes
            FROM mst_node
            WHERE account_id = $1 AND cid = ANY ($2)
        "#,
        account.get(),
        &wanted as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| StoredNode { cid: row.cid.0, rev: row.rev.0, bytes: row.bytes }).collect())
}

/// The values of the records with these CIDs; missing ones are left out.
pub(super) async fn list_values(
    conn: &mut PgConnection,
    account: AccountId,
    cids: &[Cid],
) -> sqlx::Result<Vec<(Cid, Vec<u8>)>> {
    let wanted: Vec<&[u8]> = cids.iter().map(|cid| cid.as_bytes().as_slice()).collect();
    let rows = sqlx::query!(
        r#"
            SELECT DISTINCT ON (cid) cid AS "cid: CidColumn", value
            FROM record
            WHERE account_id = $1 AND cid = ANY ($2)
        "#,
        account.get(),
        &wanted as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.cid.0, row.value)).collect())
}

/// How many bytes the values of the records with these CIDs have.
pub(super) async fn sum_value_bytes(conn: &mut PgConnection, account: AccountId, cids: &[Cid]) -> sqlx::Result<i64> {
    let wanted: Vec<&[u8]> = cids.iter().map(|cid| cid.as_bytes().as_slice()).collect();
    sqlx::query_scalar!(
        r#"
            SELECT coalesce(sum(bytes), 0)::bigint AS "bytes!"
            FROM (
                SELECT DISTINCT ON (cid) octet_length(value) AS bytes
                FROM record
                WHERE account_id = $1 AND cid = ANY ($2)
            ) AS found
        "#,
        account.get(),
        &wanted as _,
    )
    .fetch_one(conn)
    .await
}

/// Keys of the records of `collection` that point at `target`, taken-down ones too.
pub(super) async fn list_linking(
    conn: &mut PgConnection,
    account: AccountId,
    collection: &Nsid,
    target: &str,
) -> sqlx::Result<Vec<RecordKey>> {
    let rows = sqlx::query_scalar!(
        r#"
            SELECT rkey AS "rkey: TextColumn<RecordKey>"
            FROM backlink
            WHERE account_id = $1 AND collection = $2 AND left(target, 1000) = left($3, 1000) AND target = $3
            ORDER BY rkey
        "#,
        account.get(),
        collection.as_str(),
        target,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|rkey| rkey.0).collect())
}
