//! All SQL of blobs.

use atproto::data::Cid;
use atproto::syntax::{Nsid, RecordKey, Tid};
use sqlx::PgConnection;

use super::{BlobCounts, Reference};
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
