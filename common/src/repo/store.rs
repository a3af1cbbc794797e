//! The SQL that reads repositories.

use atproto::data::Cid;
use atproto::syntax::{Did, Nsid, RecordKey, Tid};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::read::{ListedRepo, Record, RepoStatus};
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

/// A record, taken-down ones too.
pub(super) async fn find_record(
    conn: &mut PgConnection,
    account: AccountId,
    collection: &Nsid,
    rkey: &RecordKey,
) -> sqlx::Result<Option<Record>> {
    let row = sqlx::query!(
        r#"
            SELECT cid AS "cid: CidColumn", value, takedown_ref IS NOT NULL AS "taken_down!"
            FROM record
            WHERE account_id = $1 AND collection = $2 AND rkey = $3
        "#,
        account.get(),
        collection.as_str(),
        rkey.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Record { rkey: rkey.clone(), cid: row.cid.0, value: row.value, taken_down: row.taken_down }))
}

/// A page of a collection in ascending order of rkey, from after `after`; taken-down records are left out.
pub(super) async fn list_records_ascending(
    conn: &mut PgConnection,
    account: AccountId,
    collection: &Nsid,
    after: Option<&RecordKey>,
    limit: i64,
) -> sqlx::Result<Vec<Record>> {
    let rows = sqlx::query!(
        r#"
            SELECT rkey AS "rkey: TextColumn<RecordKey>", cid AS "cid: CidColumn", value
            FROM record
            WHERE account_id = $1 AND collection = $2 AND rkey > $3 AND takedown_ref IS NULL
            ORDER BY rkey ASC
            LIMIT $4
        "#,
        account.get(),
        collection.as_str(),
        after.map_or("", RecordKey::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?;
    let records =
        rows.into_iter().map(|row| Record { rkey: row.rkey.0, cid: row.cid.0, value: row.value, taken_down: false });
    Ok(records.collect())
}

/// A page of a collection in descending order of rkey, from below `before`; taken-down records are left out.
pub(super) async fn list_records_descending(
    conn: &mut PgConnection,
    account: AccountId,
    collection: &Nsid,
    before: Option<&RecordKey>,
    limit: i64,
) -> sqlx::Result<Vec<Record>> {
    let rows = sqlx::query!(
        r#"
            SELECT rkey AS "rkey: TextColumn<RecordKey>", cid AS "cid: CidColumn", value
            FROM record
            -- '~' is the last character a record key may have.
            WHERE account_id = $1 AND collection = $2 AND rkey < coalesce($3, repeat('~', 513)) AND takedown_ref IS NULL
            ORDER BY rkey DESC
            LIMIT $4
        "#,
        account.get(),
        collection.as_str(),
        before.map(RecordKey::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?;
    let records =
        rows.into_iter().map(|row| Record { rkey: row.rkey.0, cid: row.cid.0, value: row.value, taken_down: false });
    Ok(records.collect())
}

/// The collections that have records, in order. One index probe a collection, however many records there are.
pub(super) async fn list_collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<Nsid>> {
    let rows = sqlx::query_scalar!(
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
            SELECT collection AS "collection!: TextColumn<Nsid>" FROM found WHERE collection IS NOT NULL
        "#,
        account.get(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|collection| collection.0).collect())
}

/// A record as an export needs it.
pub(super) struct ExportedRecord {
    pub(super) cid: Cid,
    /// DAG-CBOR; `None` if the record is too old to be asked for.
    pub(super) value: Option<Vec<u8>>,
}

/// A range of a collection in order of rkey, from the record key `range.1` on, taken-down records too. With `since`, values
/// of records not written after it are left out. At most 500 records, and no more than one beyond 4 MB of values.
pub(super) async fn list_export(
    conn: &mut PgConnection,
    account: AccountId,
    range: (&str, &str),
    since: Option<Tid>,
) -> sqlx::Result<Vec<ExportedRecord>> {
    let rows = sqlx::query!(
        r#"
            SELECT cid AS "cid!: CidColumn", CASE WHEN wanted THEN value END AS value
            FROM (
                SELECT
                    rkey, cid, value, wanted,
                    sum(CASE WHEN wanted THEN octet_length(value) ELSE 0 END) OVER (
                        ORDER BY rkey ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ) AS bytes_before
                FROM (
                    SELECT rkey, cid, value, ($4::text IS NULL OR rev > $4) AS wanted
                    FROM record
                    WHERE account_id = $1 AND collection = $2 AND rkey >= $3
                    ORDER BY rkey
                    LIMIT 500
                ) AS page
            ) AS counted
            WHERE coalesce(bytes_before, 0) < 4000000
            ORDER BY rkey
        "#,
        account.get(),
        range.0,
        range.1,
        since.map(|since| since.to_string()),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| ExportedRecord { cid: row.cid.0, value: row.value }).collect())
}

/// A page of all repos in the order their accounts were made, from after the account made at `after.0` with DID `after.1`.
pub(super) async fn list_repos(
    conn: &mut PgConnection,
    after: Option<(DateTime<Utc>, &str)>,
    limit: i64,
) -> sqlx::Result<Vec<ListedRepo>> {
    let (created_at, did) = after.unwrap_or((DateTime::UNIX_EPOCH, ""));
    let rows = sqlx::query!(
        r#"
            SELECT
                a.did AS "did: TextColumn<Did>", a.created_at,
                a.takedown_ref IS NOT NULL AS "taken_down!", a.deactivated_at IS NOT NULL AS "deactivated!",
                r.head AS "head: CidColumn", r.rev AS "rev: TextColumn<Tid>"
            FROM account a
            JOIN repo r ON r.account_id = a.id
            WHERE (a.created_at, a.did) > ($1, $2)
            ORDER BY a.created_at, a.did
            LIMIT $3
        "#,
        created_at,
        did,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let repos = rows.into_iter().map(|row| ListedRepo {
        did: row.did.0,
        created_at: row.created_at,
        head: row.head.0,
        rev: row.rev.0,
        status: RepoStatus::from_marks(row.taken_down, row.deactivated),
    });
    Ok(repos.collect())
}

/// A repo by its DID: account, head and status.
pub(super) async fn find_repo(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<super::read::Repo>> {
    let row = sqlx::query!(
        r#"
            SELECT
                a.id, a.takedown_ref IS NOT NULL AS "taken_down!", a.deactivated_at IS NOT NULL AS "deactivated!",
                r.head AS "head: CidColumn", r.rev AS "rev: TextColumn<Tid>"
            FROM account a
            JOIN repo r ON r.account_id = a.id
            WHERE a.did = $1
        "#,
        did.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| super::read::Repo {
        account: AccountId::new(row.id),
        did: did.clone(),
        head: row.head.0,
        rev: row.rev.0,
        status: RepoStatus::from_marks(row.taken_down, row.deactivated),
    }))
}
