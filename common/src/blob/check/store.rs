//! The SQL of checks.

use atproto::data::Cid;
use atproto::syntax::Did;
use sqlx::PgConnection;

use super::CheckedBlob;
use crate::blob::store::size_of;
use crate::db::{AccountId, CidColumn, TextColumn};

/// A blob as it is stored.
struct Row {
    account: AccountId,
    did: TextColumn<Did>,
    cid: CidColumn,
    size: i64,
    is_hidden: bool,
}

impl Row {
    fn blob(self) -> sqlx::Result<CheckedBlob> {
        let Self { account, did, cid, size, is_hidden } = self;
        Ok(CheckedBlob { account, did: did.0, cid: cid.0, size: size_of(size)?, is_hidden })
    }
}

/// As [`super::BlobChecker::list`].
pub(super) async fn list(
    conn: &mut PgConnection,
    did: Option<&Did>,
    after: Option<&CheckedBlob>,
    limit: u16,
) -> sqlx::Result<Vec<CheckedBlob>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
            SELECT
                b.account_id AS "account: AccountId",
                a.did AS "did: TextColumn<Did>",
                b.cid AS "cid: CidColumn",
                b.size,
                b.takedown_ref IS NOT NULL AS "is_hidden!"
            FROM blob b
            JOIN account a ON a.id = b.account_id
            WHERE (b.account_id, b.cid) > ($1, $2::bytea) AND ($3::text IS NULL OR a.did = $3)
            ORDER BY b.account_id, b.cid
            LIMIT $4
        "#,
        after.map_or(0, |blob| blob.account.get()),
        after.map_or(&[][..], |blob| blob.cid.as_bytes().as_slice()),
        did.map(Did::as_str),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::blob).collect()
}

/// The first blob behind a place: a share of the way from the first account to the last, and a CID.
pub(super) async fn find_behind(
    conn: &mut PgConnection,
    share: f64,
    cid: Option<Cid>,
) -> sqlx::Result<Option<CheckedBlob>> {
    let row = sqlx::query_as!(
        Row,
        r#"
            SELECT
                b.account_id AS "account: AccountId",
                a.did AS "did: TextColumn<Did>",
                b.cid AS "cid: CidColumn",
                b.size,
                b.takedown_ref IS NOT NULL AS "is_hidden!"
            FROM blob b
            JOIN account a ON a.id = b.account_id
            WHERE (b.account_id, b.cid) >= (
                (SELECT (max(account_id) * $1::float8)::bigint FROM blob), coalesce($2::bytea, '')
            )
            ORDER BY b.account_id, b.cid
            LIMIT 1
        "#,
        share,
        cid.map(CidColumn) as _,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::blob).transpose()
}

/// A blob as it is now; `None` if it is gone.
pub(super) async fn find(conn: &mut PgConnection, account: AccountId, cid: Cid) -> sqlx::Result<Option<CheckedBlob>> {
    let row = sqlx::query_as!(
        Row,
        r#"
            SELECT
                b.account_id AS "account: AccountId",
                a.did AS "did: TextColumn<Did>",
                b.cid AS "cid: CidColumn",
                b.size,
                b.takedown_ref IS NOT NULL AS "is_hidden!"
            FROM blob b
            JOIN account a ON a.id = b.account_id
            WHERE b.account_id = $1 AND b.cid = $2
        "#,
        account.get(),
        cid.as_bytes(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::blob).transpose()
}
