//! SQL of the check. Whatever may be damaged is read as bytes or text.

use atproto::data::Cid;
use atproto::syntax::Did;
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

use super::RepoRef;
use super::pages::{PAGE_BYTES, PAGE_ROWS, Row};
use crate::db::{AccountId, TextColumn};

/// Nodes in a page; most have some hundred bytes.
const PAGE_NODES: i64 = 500;

pub(super) async fn find_repo(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<RepoRef>> {
    let row = sqlx::query_scalar!(
        r#"
            SELECT r.account_id AS "account: AccountId"
            FROM account a
            JOIN repo r ON r.account_id = a.id
            WHERE a.did = $1
        "#,
        did.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|account| RepoRef { account, did: did.clone() }))
}

pub(super) async fn find_public_key(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT k.public_key FROM account a JOIN signing_key k ON k.account_id = a.id WHERE a.did = $1",
        did.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// A page of all repos by account, from after `after`.
pub(super) async fn list_repos(
    conn: &mut PgConnection,
    after: Option<AccountId>,
    limit: i64,
) -> sqlx::Result<Vec<RepoRef>> {
    let rows = sqlx::query!(
        r#"
            SELECT r.account_id AS "account: AccountId", a.did AS "did: TextColumn<Did>"
            FROM repo r
            JOIN account a ON a.id = r.account_id
            WHERE $1::bigint IS NULL OR r.account_id > $1
            ORDER BY r.account_id
            LIMIT $2
        "#,
        after.map(AccountId::get),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| RepoRef { account: row.account, did: row.did.0 }).collect())
}

pub(super) async fn count_repos(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM repo"#).fetch_one(conn).await
}

/// The repo's row, and the public key that its commits are signed with.
pub(super) struct HeadRow {
    pub(super) head: Vec<u8>,
    pub(super) rev: String,
    pub(super) root: Vec<u8>,
    pub(super) commit_block: Vec<u8>,
    pub(super) record_count: i64,
    pub(super) public_key: Option<String>,
}

pub(super) async fn find_head(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Option<HeadRow>> {
    sqlx::query_as!(
        HeadRow,
        r#"
            SELECT r.head, r.rev, r.root, r.commit_block, r.record_count, k.public_key AS "public_key?"
            FROM repo r
            LEFT JOIN signing_key k ON k.account_id = r.account_id
            WHERE r.account_id = $1
        "#,
        account.get(),
    )
    .fetch_optional(conn)
    .await
}

/// A record.
pub(in crate::repo) struct RecordRow {
    pub(in crate::repo) rkey: String,
    pub(in crate::repo) cid: Vec<u8>,
    pub(in crate::repo) rev: String,
    pub(in crate::repo) value: Vec<u8>,
}

impl Row for RecordRow {
    fn rkey(&self) -> &str {
        &self.rkey
    }

    fn bytes(&self) -> usize {
        self.value.len()
    }

    async fn collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<String>> {
        list_collections(conn, account).await
    }

    async fn list(
        conn: &mut PgConnection,
        account: AccountId,
        collection: &str,
        after: &str,
    ) -> sqlx::Result<Vec<Self>> {
        sqlx::query_as!(
            Self,
            r#"
                SELECT rkey, cid, rev, value
                FROM (
                    SELECT
                        rkey, cid, rev, value,
                        sum(octet_length(value)) OVER (
                            ORDER BY rkey ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                        ) AS bytes_before
                    FROM (
                        SELECT rkey, cid, rev, value
                        FROM record
                        WHERE account_id = $1 AND collection = $2 AND rkey > $3
                        ORDER BY rkey
                        LIMIT $4
                    ) AS page
                ) AS counted
                WHERE coalesce(bytes_before, 0) < $5
                ORDER BY rkey
            "#,
            account.get(),
            collection,
            after,
            PAGE_ROWS,
            PAGE_BYTES,
        )
        .fetch_all(conn)
        .await
    }
}

/// A record without its value.
pub(super) struct NameRow {
    pub(super) rkey: String,
    pub(super) cid: Vec<u8>,
}

impl Row for NameRow {
    fn rkey(&self) -> &str {
        &self.rkey
    }

    fn bytes(&self) -> usize {
        self.cid.len()
    }

    async fn collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<String>> {
        list_collections(conn, account).await
    }

    async fn list(
        conn: &mut PgConnection,
        account: AccountId,
        collection: &str,
        after: &str,
    ) -> sqlx::Result<Vec<Self>> {
        sqlx::query_as!(
            Self,
            r#"
                SELECT rkey, cid
                FROM record
                WHERE account_id = $1 AND collection = $2 AND rkey > $3
                ORDER BY rkey
                LIMIT $4
            "#,
            account.get(),
            collection,
            after,
            PAGE_ROWS,
        )
        .fetch_all(conn)
        .await
    }
}

/// The collections that have records. One index probe a collection, however many records there are.
async fn list_collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
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
            SELECT collection AS "collection!" FROM found WHERE collection IS NOT NULL
        "#,
        account.get(),
    )
    .fetch_all(conn)
    .await
}

/// A link.
pub(super) struct LinkRow {
    pub(super) rkey: String,
    pub(super) target: String,
}

impl Row for LinkRow {
    fn rkey(&self) -> &str {
        &self.rkey
    }

    fn bytes(&self) -> usize {
        self.target.len()
    }

    async fn collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar!(
            r#"
                WITH RECURSIVE found AS (
                    (SELECT collection FROM backlink WHERE account_id = $1 ORDER BY collection LIMIT 1)
                    UNION ALL
                    SELECT (
                        SELECT b.collection FROM backlink b
                        WHERE b.account_id = $1 AND b.collection > found.collection
                        ORDER BY b.collection LIMIT 1
                    )
                    FROM found
                    WHERE found.collection IS NOT NULL
                )
                SELECT collection AS "collection!" FROM found WHERE collection IS NOT NULL
            "#,
            account.get(),
        )
        .fetch_all(conn)
        .await
    }

    async fn list(
        conn: &mut PgConnection,
        account: AccountId,
        collection: &str,
        after: &str,
    ) -> sqlx::Result<Vec<Self>> {
        sqlx::query_as!(
            Self,
            r#"
                SELECT rkey, target
                FROM backlink
                WHERE account_id = $1 AND collection = $2 AND rkey > $3
                ORDER BY rkey
                LIMIT $4
            "#,
            account.get(),
            collection,
            after,
            PAGE_ROWS,
        )
        .fetch_all(conn)
        .await
    }
}

/// The blobs noted for one record.
pub(super) struct BlobRow {
    pub(super) rkey: String,
    pub(super) cids: Vec<Vec<u8>>,
}

impl Row for BlobRow {
    fn rkey(&self) -> &str {
        &self.rkey
    }

    fn bytes(&self) -> usize {
        self.cids.iter().map(Vec::len).sum()
    }

    async fn collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar!(
            r#"
                WITH RECURSIVE found AS (
                    (SELECT collection FROM record_blob WHERE account_id = $1 ORDER BY collection LIMIT 1)
                    UNION ALL
                    SELECT (
                        SELECT b.collection FROM record_blob b
                        WHERE b.account_id = $1 AND b.collection > found.collection
                        ORDER BY b.collection LIMIT 1
                    )
                    FROM found
                    WHERE found.collection IS NOT NULL
                )
                SELECT collection AS "collection!" FROM found WHERE collection IS NOT NULL
            "#,
            account.get(),
        )
        .fetch_all(conn)
        .await
    }

    async fn list(
        conn: &mut PgConnection,
        account: AccountId,
        collection: &str,
        after: &str,
    ) -> sqlx::Result<Vec<Self>> {
        sqlx::query_as!(
            Self,
            r#"
                SELECT rkey, array_agg(cid) AS "cids!"
                FROM record_blob
                WHERE account_id = $1 AND collection = $2 AND rkey > $3
                GROUP BY rkey
                ORDER BY rkey
                LIMIT $4
            "#,
            account.get(),
            collection,
            after,
            PAGE_ROWS,
        )
        .fetch_all(conn)
        .await
    }
}

/// A tree node.
pub(super) struct NodeRow {
    pub(super) cid: Vec<u8>,
    pub(super) rev: String,
    pub(super) bytes: Vec<u8>,
}

/// A page of the stored nodes in the order of their CIDs, from after `after`.
pub(super) async fn list_nodes(
    conn: &mut PgConnection,
    account: AccountId,
    after: &[u8],
) -> sqlx::Result<Vec<NodeRow>> {
    sqlx::query_as!(
        NodeRow,
        "SELECT cid, rev, bytes FROM mst_node WHERE account_id = $1 AND cid > $2 ORDER BY cid LIMIT $3",
        account.get(),
        after,
        PAGE_NODES,
    )
    .fetch_all(conn)
    .await
}

/// The blocks of the nodes with these CIDs; missing ones are left out.
pub(super) async fn list_blocks(
    conn: &mut PgConnection,
    account: AccountId,
    cids: &[Cid],
) -> sqlx::Result<Vec<(Cid, Vec<u8>)>> {
    let wanted: Vec<&[u8]> = cids.iter().map(|cid| cid.as_bytes().as_slice()).collect();
    let rows = sqlx::query!(
        "SELECT cid, bytes FROM mst_node WHERE account_id = $1 AND cid = ANY ($2)",
        account.get(),
        &wanted as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((Cid::from_bytes(&row.cid).ok()?, row.bytes))).collect())
}

/// Collections with records that are not noted of the repo.
pub(super) fn list_missing_collections(
    conn: &mut PgConnection,
    account: AccountId,
) -> BoxStream<'_, sqlx::Result<String>> {
    sqlx::query_scalar!(
        "
            SELECT DISTINCT r.collection
            FROM record r
            WHERE r.account_id = $1
                AND NOT EXISTS (
                    SELECT FROM repo_collection c WHERE c.account_id = $1 AND c.collection = r.collection
                )
        ",
        account.get(),
    )
    .fetch(conn)
}

/// Collections that are noted of the repo and have no records.
pub(super) fn list_stray_collections(
    conn: &mut PgConnection,
    account: AccountId,
) -> BoxStream<'_, sqlx::Result<String>> {
    sqlx::query_scalar!(
        "
            SELECT c.collection
            FROM repo_collection c
            WHERE c.account_id = $1
                AND NOT EXISTS (SELECT FROM record r WHERE r.account_id = $1 AND r.collection = c.collection)
        ",
        account.get(),
    )
    .fetch(conn)
}
