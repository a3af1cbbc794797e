//! The SQL of the sweep.

use sqlx::PgConnection;

use crate::db::AccountId;

/// How far the sweep has come, in the order of accounts and CIDs.
pub(super) struct Place {
    account: AccountId,
    cid: Vec<u8>,
}

/// Where to go on, for this transaction alone; `None` if another one is at it.
pub(super) async fn lock_place(conn: &mut PgConnection) -> sqlx::Result<Option<Place>> {
    sqlx::query_as!(
        Place,
        r#"
            SELECT after_account AS "account: AccountId", after_cid AS cid
            FROM blob_sweep
            FOR UPDATE SKIP LOCKED
        "#,
    )
    .fetch_optional(conn)
    .await
}

/// Notes those of the next `limit` blobs that records referred to once, and that neither a record nor a note names now. Not
/// what is taken down, which is noted when it is shown again. Gives how many.
///
/// A look without locks: a note claims nothing, and whoever comes for the blob looks again.
pub(super) async fn note_unused(conn: &mut PgConnection, place: &Place, limit: i64) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar!(
        r#"
            WITH page AS MATERIALIZED (
                SELECT account_id, cid, state, takedown_ref
                FROM blob
                WHERE (account_id, cid) > ($1, $2)
                ORDER BY account_id, cid
                LIMIT $3
            ), last AS (
                SELECT account_id, cid FROM page ORDER BY account_id DESC, cid DESC LIMIT 1
            ), moved AS (
                UPDATE blob_sweep
                SET after_account = coalesce((SELECT account_id FROM last), 0),
                    after_cid = coalesce((SELECT cid FROM last), '')
            ), noted AS (
                INSERT INTO blob_dereference (account_id, cid)
                SELECT p.account_id, p.cid
                FROM page p
                WHERE p.state = 'permanent' AND p.takedown_ref IS NULL
                    AND EXISTS (SELECT FROM account a WHERE a.id = p.account_id)
                    AND NOT EXISTS (SELECT FROM record_blob r WHERE r.account_id = p.account_id AND r.cid = p.cid)
                    AND NOT EXISTS (SELECT FROM blob_dereference d WHERE d.account_id = p.account_id AND d.cid = p.cid)
                RETURNING 1
            )
            SELECT count(*) AS "count!" FROM noted
        "#,
        place.account.get(),
        place.cid,
        limit,
    );
    query.fetch_one(conn).await
}
