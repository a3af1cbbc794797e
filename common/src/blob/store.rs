//! All SQL of blobs.

use atproto::data::Cid;
use atproto::syntax::{Did, Nsid, RecordKey, Tid};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{BlobCounts, Reference, StoredBlob};
use crate::config::BlobQuota;
use crate::db::{AccountId, CidColumn, TextColumn};

/// As [`super::Blobs::list_referenced`]; `page` is where it begins and how long it is.
pub(super) async fn list_referenced(
    conn: &mut PgConnection,
    account: AccountId,
    since: Option<Tid>,
    page: (Option<Cid>, u16),
) -> sqlx::Result<Vec<Cid>> {
    let rows = sqlx::query_scalar!(
        r#"
            SELECT DISTINCT cid AS "cid: CidColumn"
            FROM record_blob
            WHERE account_id = $1 AND cid > coalesce($2::bytea, '') AND ($3::text IS NULL OR rev > $3)
            ORDER BY cid
            LIMIT $4
        "#,
        account.get(),
        page.0.map(CidColumn) as _,
        since.map(TextColumn) as _,
        i64::from(page.1),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|cid| cid.0).collect())
}

/// As [`super::Blobs::list_missing`]; `page` is where it begins and how long it is.
pub(super) async fn list_missing(
    conn: &mut PgConnection,
    account: AccountId,
    page: (Option<Cid>, u16),
) -> sqlx::Result<Vec<Reference>> {
    let rows = sqlx::query!(
        r#"
            SELECT DISTINCT ON (cid)
                cid AS "cid: CidColumn",
                collection AS "collection: TextColumn<Nsid>",
                rkey AS "rkey: TextColumn<RecordKey>"
            FROM record_blob r
            WHERE account_id = $1 AND cid > coalesce($2::bytea, '')
                AND NOT EXISTS (SELECT FROM blob b WHERE b.account_id = $1 AND b.cid = r.cid)
            ORDER BY cid, collection, rkey
            LIMIT $3
        "#,
        account.get(),
        page.0.map(CidColumn) as _,
        i64::from(page.1),
    )
    .fetch_all(conn)
    .await?;
    let references =
        rows.into_iter().map(|row| Reference { cid: row.cid.0, collection: row.collection.0, rkey: row.rkey.0 });
    Ok(references.collect())
}

/// As [`super::insert_references`].
pub(super) async fn insert_references(
    conn: &mut PgConnection,
    account: AccountId,
    rev: Tid,
    references: &[Reference],
) -> sqlx::Result<()> {
    let cids: Vec<&[u8]> = references.iter().map(|reference| reference.cid.as_bytes().as_slice()).collect();
    let collections: Vec<&str> = references.iter().map(|reference| reference.collection.as_str()).collect();
    let rkeys: Vec<&str> = references.iter().map(|reference| reference.rkey.as_str()).collect();
    // Whoever deletes blobs locks them before they look for references.
    let query = sqlx::query!(
        "SELECT FROM blob WHERE account_id = $1 AND cid = ANY ($2) ORDER BY cid FOR UPDATE",
        account.get(),
        &cids as _,
    );
    query.execute(&mut *conn).await?;
    let query = sqlx::query!(
        r#"
            INSERT INTO record_blob (account_id, cid, collection, rkey, rev)
            SELECT DISTINCT $1::bigint, r.cid, r.collection, r.rkey, $2
            FROM unnest($3::bytea[], $4::text[], $5::text[]) AS r (cid, collection, rkey)
            ON CONFLICT (account_id, cid, collection, rkey) DO UPDATE SET rev = excluded.rev
        "#,
        account.get(),
        TextColumn(rev) as _,
        &cids as _,
        &collections as _,
        &rkeys as _,
    );
    query.execute(conn).await?;
    Ok(())
}

/// As [`super::delete_references`].
pub(super) async fn delete_references(
    conn: &mut PgConnection,
    account: AccountId,
    references: &[(String, String, Cid)],
) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for (collection, rkey, cid) in references {
        let query = sqlx::query!(
            "DELETE FROM record_blob WHERE account_id = $1 AND cid = $2 AND collection = $3 AND rkey = $4",
            account.get(),
            cid.as_bytes(),
            collection,
            rkey,
        );
        deleted += query.execute(&mut *conn).await?.rows_affected();
    }
    Ok(deleted)
}

/// Those of `cids` that the account has and that are not taken down.
pub(super) async fn list_usable(conn: &mut PgConnection, account: AccountId, cids: &[Cid]) -> sqlx::Result<Vec<Cid>> {
    let wanted: Vec<&[u8]> = cids.iter().map(|cid| cid.as_bytes().as_slice()).collect();
    let rows = sqlx::query_scalar!(
        r#"
            SELECT cid AS "cid: CidColumn"
            FROM blob
            WHERE account_id = $1 AND cid = ANY ($2) AND takedown_ref IS NULL
        "#,
        account.get(),
        &wanted as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|cid| cid.0).collect())
}

/// What keeps bytes from being uploaded.
pub(super) struct Bars {
    pub(super) taken_down: bool,
    pub(super) being_deleted: bool,
    /// Of the account, if it has one.
    pub(super) own_quota: Option<BlobQuota>,
    /// There is no such account.
    pub(super) no_account: bool,
    /// When this was so, by Postgres's clock.
    pub(super) looked_at: DateTime<Utc>,
}

/// What keeps a blob of an account, which has this DID, from being uploaded. One that the account has is not being deleted,
/// though its bytes may have been about to be: those of an earlier account with this DID.
pub(super) async fn find_bars(conn: &mut PgConnection, account: AccountId, did: &Did, cid: Cid) -> sqlx::Result<Bars> {
    let query = sqlx::query!(
        r#"
            SELECT
                EXISTS (
                    SELECT FROM account a JOIN blob b ON b.account_id = a.id
                    WHERE a.did = $1 AND b.cid = $2 AND b.takedown_ref IS NOT NULL
                ) AS "taken_down!",
                EXISTS (SELECT FROM blob_deletion d WHERE d.did = $1 AND d.cid = $2)
                    AND NOT EXISTS (
                        SELECT FROM account a JOIN blob b ON b.account_id = a.id WHERE a.did = $1 AND b.cid = $2
                    ) AS "being_deleted!",
                q.account_id IS NOT NULL AS "has_quota!",
                q.max_bytes AS "max_bytes?",
                q.max_count AS "max_count?",
                NOT EXISTS (SELECT FROM account a WHERE a.id = $3) AS "no_account!",
                statement_timestamp() AS "looked_at!"
            FROM (SELECT) one
            LEFT JOIN blob_quota q ON q.account_id = $3
        "#,
        did.as_str(),
        cid.as_bytes(),
        account.get(),
    );
    let row = query.fetch_one(conn).await?;
    let bytes = row.max_bytes.map(size_of).transpose()?;
    let count = row.max_count.map(size_of).transpose()?;
    let own_quota = row.has_quota.then_some(BlobQuota { bytes, count });
    let (no_account, looked_at) = (row.no_account, row.looked_at);
    Ok(Bars { taken_down: row.taken_down, being_deleted: row.being_deleted, own_quota, no_account, looked_at })
}

/// The row of an uploaded blob.
pub(super) struct Row {
    pub(super) mime_type: String,
    /// Whether it was not there before.
    pub(super) is_new: bool,
}

/// Stores the row of an uploaded blob. One that no record refers to is as new, also if it was about to be
/// deleted; of others nothing changes. `None` if there is no such account, or something keeps the blob from being uploaded.
///
/// Whoever deletes the account waits for this, or this for them. A record may refer to the blob already: an import's.
///
/// Nothing is in the way as of `looked_at`. If that is too long ago, the bytes may have been deleted since and all of it
/// forgotten, which takes 13 minutes at least.
pub(super) async fn upsert_blob(
    conn: &mut PgConnection,
    account: AccountId,
    blob: &StoredBlob,
    looked_at: DateTime<Utc>,
) -> sqlx::Result<Option<Row>> {
    sqlx::query_as!(
        Row,
        r#"
            INSERT INTO blob AS b (account_id, cid, mime_type, size, state)
            SELECT
                a.id, $2, $3, $4,
                CASE
                    WHEN EXISTS (SELECT FROM record_blob r WHERE r.account_id = $1 AND r.cid = $2) THEN 'permanent'
                    ELSE 'temporary'
                END
            FROM account a
            WHERE a.id = $1 AND clock_timestamp() < $5::timestamptz + interval '10 minutes' AND (
                NOT EXISTS (SELECT FROM blob_deletion d WHERE d.did = a.did AND d.cid = $2)
                OR EXISTS (SELECT FROM blob b WHERE b.account_id = $1 AND b.cid = $2)
            )
            FOR KEY SHARE OF a
            ON CONFLICT (account_id, cid) DO UPDATE
            SET mime_type = CASE excluded.state WHEN 'temporary' THEN excluded.mime_type ELSE b.mime_type END,
                created_at = CASE excluded.state WHEN 'temporary' THEN excluded.created_at ELSE b.created_at END,
                state = excluded.state,
                delete_after = NULL
            WHERE b.takedown_ref IS NULL
            RETURNING mime_type, b.xmax = 0 AS "is_new!"
        "#,
        account.get(),
        blob.cid.as_bytes(),
        blob.mime_type,
        size_column(blob.size)?,
        looked_at,
    )
    .fetch_optional(conn)
    .await
}

/// Has the bytes of a blob deleted that has no row, once more if they are being deleted.
pub(super) async fn upsert_deletion(conn: &mut PgConnection, did: &Did, cid: Cid) -> sqlx::Result<()> {
    let query = sqlx::query!(
        r#"
            INSERT INTO blob_deletion (did, cid)
            SELECT $1, $2
            WHERE NOT EXISTS (
                SELECT FROM account a JOIN blob b ON b.account_id = a.id WHERE a.did = $1 AND b.cid = $2
            )
            ON CONFLICT (did, cid) DO UPDATE SET created_at = excluded.created_at, deleted_at = NULL
        "#,
        did.as_str(),
        cid.as_bytes(),
    );
    query.execute(conn).await?;
    Ok(())
}

/// As [`super::Blobs::find_readable`].
pub(super) async fn find_readable(
    conn: &mut PgConnection,
    account: AccountId,
    cid: Cid,
) -> sqlx::Result<Option<StoredBlob>> {
    let row = sqlx::query!(
        r#"
            SELECT mime_type, size
            FROM blob
            WHERE account_id = $1 AND cid = $2 AND takedown_ref IS NULL
                AND EXISTS (SELECT FROM record_blob r WHERE r.account_id = $1 AND r.cid = $2)
        "#,
        account.get(),
        cid.as_bytes(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok(StoredBlob { cid, mime_type: row.mime_type, size: size_of(row.size)? })).transpose()
}

/// Whether a record of the account refers to a blob, there or not.
pub(super) async fn is_referenced(conn: &mut PgConnection, account: AccountId, cid: Cid) -> sqlx::Result<bool> {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM record_blob WHERE account_id = $1 AND cid = $2) AS "exists!""#,
        account.get(),
        cid.as_bytes(),
    );
    query.fetch_one(conn).await
}

/// As [`super::list_unreferenced`].
pub(super) async fn list_temporary(
    conn: &mut PgConnection,
    account: AccountId,
    cids: &[Cid],
) -> sqlx::Result<Vec<StoredBlob>> {
    let wanted: Vec<&[u8]> = cids.iter().map(|cid| cid.as_bytes().as_slice()).collect();
    let rows = sqlx::query!(
        r#"
            SELECT cid AS "cid: CidColumn", mime_type, size
            FROM blob
            WHERE account_id = $1 AND cid = ANY ($2) AND state = 'temporary' AND takedown_ref IS NULL
        "#,
        account.get(),
        &wanted as _,
    )
    .fetch_all(conn)
    .await?;
    let blobs = rows
        .into_iter()
        .map(|row| Ok(StoredBlob { cid: row.cid.0, mime_type: row.mime_type, size: size_of(row.size)? }));
    blobs.collect()
}

pub(super) fn size_column(size: u64) -> sqlx::Result<i64> {
    i64::try_from(size).map_err(|error| sqlx::Error::Encode(error.into()))
}

pub(super) fn size_of(column: i64) -> sqlx::Result<u64> {
    u64::try_from(column).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// How many blobs an account has, and should have.
pub(super) async fn count(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<BlobCounts> {
    sqlx::query_as!(
        BlobCounts,
        r#"
            SELECT
                (SELECT count(DISTINCT cid) FROM record_blob WHERE account_id = $1) AS "expected!",
                (SELECT count(*) FROM blob WHERE account_id = $1) AS "present!"
        "#,
        account.get(),
    )
    .fetch_one(conn)
    .await
}
