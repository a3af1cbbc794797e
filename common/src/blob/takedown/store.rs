//! The SQL of hidden blobs.

use atproto::data::Cid;
use atproto::syntax::Did;
use sqlx::PgConnection;

use super::{BlobMark, Marked};

/// As [`super::super::Blobs::find_mark`].
pub(super) async fn find_marked(conn: &mut PgConnection, did: &Did, cid: Cid) -> sqlx::Result<Option<Marked>> {
    sqlx::query_as!(
        Marked,
        r#"
            SELECT takedown_ref, statement_timestamp() AS "looked_at!"
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
///
/// Collection passed over it while it was hidden: once shown again, it is to be looked at, and not before its time.
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
            ), updated AS (
                UPDATE blob
                SET takedown_ref = $3,
                    created_at = CASE WHEN $3::text IS NULL THEN clock_timestamp() ELSE blob.created_at END,
                    delete_after = CASE WHEN $3::text IS NULL THEN NULL ELSE blob.delete_after END
                FROM old
                WHERE blob.account_id = old.account_id AND blob.cid = old.cid
                RETURNING old.account_id, old.cid, old.takedown_ref
            ), noted AS (
                INSERT INTO blob_dereference (account_id, cid)
                SELECT account_id, cid FROM updated WHERE $3::text IS NULL
            )
            SELECT takedown_ref FROM updated
        "#,
        did.as_str(),
        cid.as_bytes(),
        reference,
    )
    .fetch_optional(conn)
    .await
}
