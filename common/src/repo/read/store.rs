//! The SQL of lookups and lists.

use atproto::syntax::{Did, Nsid, RecordKey, Tid};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{ListedRepo, Page, Record, Repo, RepoCounts, RepoStatus};
use crate::db::{AccountId, CidColumn, TextColumn, in_place};

/// The records of active accounts with these keys, each in its key's place; taken-down ones too.
pub(super) async fn find_records(
    conn: &mut PgConnection,
    keys: &[(AccountId, Nsid, RecordKey)],
) -> sqlx::Result<Vec<Option<Record>>> {
    let accounts: Vec<i64> = keys.iter().map(|(account, ..)| account.get()).collect();
    let collections: Vec<&str> = keys.iter().map(|(_, collection, _)| collection.as_str()).collect();
    let rkeys: Vec<&str> = keys.iter().map(|(.., rkey)| rkey.as_str()).collect();
    // A lateral query with a limit is looked up by its index for each key, whatever the planner thinks of the table.
    let rows = sqlx::query!(
        r#"
            SELECT
                wanted.place AS "place!",
                wanted.rkey AS "rkey!: TextColumn<RecordKey>",
                found.cid AS "cid: CidColumn",
                found.value,
                found.takedown_ref IS NOT NULL AS "taken_down!"
            FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (account_id, collection, rkey, place)
            CROSS JOIN LATERAL (
                SELECT cid, value, takedown_ref
                FROM record
                WHERE record.account_id = wanted.account_id
                    AND record.collection = wanted.collection
                    AND record.rkey = wanted.rkey
                    AND EXISTS (
                        SELECT FROM account
                        WHERE id = wanted.account_id AND account.takedown_ref IS NULL AND deactivated_at IS NULL
                    )
                LIMIT 1
            ) AS found
        "#,
        &accounts,
        &collections as _,
        &rkeys as _,
    )
    .fetch_all(conn)
    .await?;
    let records = rows.into_iter().map(|row| {
        let record = Record { rkey: row.rkey.0, cid: row.cid.0, value: row.value, taken_down: row.taken_down };
        (row.place, record)
    });
    Ok(in_place(keys.len(), records))
}

/// A record on a page, perhaps without its value.
pub(super) struct PageRow {
    pub(super) rkey: TextColumn<RecordKey>,
    pub(super) cid: CidColumn,
    /// Length of the value.
    pub(super) bytes: i32,
    /// `None` if it is longer than was asked for.
    pub(super) value: Option<Vec<u8>>,
}

/// Rows of a collection on one side of a key (`$side` has its parameter, `$3`), in one direction.
macro_rules! list_page {
    ($side:literal, $direction:literal, $($parameter:expr),+) => {
        sqlx::query_as!(
            PageRow,
            r#"
                SELECT
                    rkey AS "rkey: TextColumn<RecordKey>",
                    cid AS "cid: CidColumn",
                    octet_length(value) AS "bytes!",
                    CASE WHEN octet_length(value) <= $5 THEN value END AS value
                FROM record
                WHERE account_id = $1 AND collection = $2 AND takedown_ref IS NULL
                    AND EXISTS (
                        SELECT FROM account WHERE id = $1 AND takedown_ref IS NULL AND deactivated_at IS NULL
                    )
                    AND "#
                + $side
                + " ORDER BY rkey "
                + $direction
                + " LIMIT $4",
            $($parameter),+
        )
    };
}

/// A page of a collection of an active account, without taken-down records, and without values of more than `max_bytes`.
pub(super) async fn list_page(
    conn: &mut PgConnection,
    (account, collection): (AccountId, &Nsid),
    page: Page<'_>,
    max_bytes: i32,
) -> sqlx::Result<Vec<PageRow>> {
    let (account, collection, limit) = (account.get(), collection.as_str(), i64::from(page.limit));
    let cursor = page.cursor.map(RecordKey::as_str);
    if page.reverse {
        list_page!("rkey > coalesce($3, '')", "ASC", account, collection, cursor, limit, max_bytes)
            .fetch_all(conn)
            .await
    } else {
        // '~' is the last character a record key may have.
        list_page!("rkey < coalesce($3, repeat('~', 513))", "DESC", account, collection, cursor, limit, max_bytes)
            .fetch_all(conn)
            .await
    }
}

/// The records of a collection at these keys, in no particular order, without taken-down ones.
pub(super) async fn list_records_at(
    conn: &mut PgConnection,
    account: AccountId,
    collection: &Nsid,
    rkeys: &[&str],
) -> sqlx::Result<Vec<Record>> {
    let rows = sqlx::query!(
        r#"
            SELECT rkey AS "rkey: TextColumn<RecordKey>", cid AS "cid: CidColumn", value
            FROM record
            WHERE account_id = $1 AND collection = $2 AND rkey = ANY ($3) AND takedown_ref IS NULL
        "#,
        account.get(),
        collection.as_str(),
        rkeys as _,
    )
    .fetch_all(conn)
    .await?;
    let records =
        rows.into_iter().map(|row| Record { rkey: row.rkey.0, cid: row.cid.0, value: row.value, taken_down: false });
    Ok(records.collect())
}

/// The collections that a repo has records in, in order.
pub(super) async fn list_collections(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<Nsid>> {
    let rows = sqlx::query_scalar!(
        r#"
            SELECT collection AS "collection: TextColumn<Nsid>"
            FROM repo_collection
            WHERE account_id = $1
            ORDER BY collection
        "#,
        account.get(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|collection| collection.0).collect())
}

/// A page of the active repos that have records in a collection, in the order of their accounts' numbers from above
/// `after`.
pub(super) async fn list_with_collection(
    conn: &mut PgConnection,
    collection: &Nsid,
    after: Option<AccountId>,
    limit: i64,
) -> sqlx::Result<Vec<(AccountId, Did)>> {
    let rows = sqlx::query!(
        r#"
            SELECT a.id AS "id: AccountId", a.did AS "did: TextColumn<Did>"
            FROM repo_collection c
            JOIN account a ON a.id = c.account_id
            WHERE c.collection = $1 AND c.account_id > coalesce($2::bigint, 0)
                AND a.takedown_ref IS NULL AND a.deactivated_at IS NULL
            ORDER BY c.account_id
            LIMIT $3
        "#,
        collection.as_str(),
        after.map(AccountId::get),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.did.0)).collect())
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
pub(super) async fn find_repo(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<Repo>> {
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
    Ok(row.map(|row| Repo {
        account: AccountId::new(row.id),
        did: did.clone(),
        head: row.head.0,
        rev: row.rev.0,
        status: RepoStatus::from_marks(row.taken_down, row.deactivated),
    }))
}

/// The blocks and records of a repo.
pub(super) async fn count(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<RepoCounts> {
    sqlx::query_as!(
        RepoCounts,
        r#"
            SELECT
                (SELECT count(*) FROM repo WHERE account_id = $1)
                    + (SELECT count(*) FROM mst_node WHERE account_id = $1)
                    + (SELECT count(DISTINCT cid) FROM record WHERE account_id = $1) AS "blocks!",
                (SELECT count(*) FROM record WHERE account_id = $1) AS "records!"
        "#,
        account.get(),
    )
    .fetch_one(conn)
    .await
}
