//! The SQL of checks.

use atproto::data::Cid;
use atproto::syntax::Did;
use sqlx::PgConnection;

use super::{CheckedBlob, Place};
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

/// Blobs behind a place, of one account or all, in the order of accounts and CIDs.
pub(super) async fn list_behind(
    conn: &mut PgConnection,
    did: Option<&Did>,
    (account, cid): Place,
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
            WHERE (b.account_id, b.cid) > ($1, coalesce($2::bytea, '')) AND ($3::text IS NULL OR a.did = $3)
            ORDER BY b.account_id, b.cid
            LIMIT $4
        "#,
        account.get(),
        cid.map(CidColumn) as _,
        did.map(Did::as_str),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::blob).collect()
}

/// The number that lies a share of the way from the first account to the last one with blobs; it need not be one's.
pub(super) async fn account_behind(conn: &mut PgConnection, share: f64) -> sqlx::Result<AccountId> {
    let query = sqlx::query_scalar!(
        r#"SELECT coalesce((max(account_id) * $1::float8)::bigint, 0) AS "account!: AccountId" FROM blob"#,
        share,
    );
    query.fetch_one(conn).await
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
