//! The SQL of hidden blobs.

use atproto::data::Cid;
use atproto::syntax::Did;
use sqlx::PgConnection;

use super::BlobMark;

/// As [`super::super::Blobs::find_mark`].
pub(super) async fn find_mark(conn: &mut PgConnection, did: &Did, cid: Cid) -> sqlx::Result<Option<BlobMark>> {
    sqlx::query_as!(
        BlobMark,
        r#"
            SELECT takedown_ref
            FROM blob
            WHERE account_id = (SELECT id FROM account WHERE did = $1) AND cid = $2
        "#,
        did.as_str(),
        cid.as_bytes(),
    )
    .fetch_optional(conn)
    .await
}

/// Sets or clears the mark of a blob. Gives what was before; `None` if there is no such blob.
pub(super) async fn update_mark(
    conn: &mut PgConnection,
    did: &Did,
    cid: Cid,
    reference: Option<&str>,
) -> sqlx::Result<Option<BlobMark>> {
    sqlx::query_as!(
        BlobMark,
        r#"
            WITH old AS (
                SELECT account_id, cid, takedown_ref
                FROM blob
                WHERE account_id = (SELECT id FROM account WHERE did = $1) AND cid = $2
                FOR UPDATE
            )
            UPDATE blob
            SET takedown_ref = $3
            FROM old
            WHERE blob.account_id = old.account_id AND blob.cid = old.cid
            RETURNING old.takedown_ref
        "#,
        did.as_str(),
        cid.as_bytes(),
        reference,
    )
    .fetch_optional(conn)
    .await
}
