//! The SQL of exports.

use atproto::data::Cid;
use atproto::syntax::Tid;
use sqlx::PgConnection;

use crate::db::{AccountId, CidColumn, TextColumn};

/// A record as an export needs it.
pub(super) struct ExportedRecord {
    pub(super) cid: Cid,
    /// False if it is too old to be asked for.
    pub(super) is_wanted: bool,
    /// DAG-CBOR; `None` if it is longer than was asked for, or not wanted.
    pub(super) value: Option<Vec<u8>>,
}

/// A range of a collection in order of rkey, from the record key `range.1` on, taken-down records too: at most `limit`
/// records, without values of more than `max_bytes`.
pub(super) async fn list_range(
    conn: &mut PgConnection,
    account: AccountId,
    range: (&str, &str),
    (limit, max_bytes): (i64, i32),
) -> sqlx::Result<Vec<ExportedRecord>> {
    let rows = sqlx::query!(
        r#"
            SELECT cid AS "cid: CidColumn", CASE WHEN octet_length(value) <= $5 THEN value END AS value
            FROM record
            WHERE account_id = $1 AND collection = $2 AND rkey >= $3
            ORDER BY rkey
            LIMIT $4
        "#,
        account.get(),
        range.0,
        range.1,
        limit,
        max_bytes,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| ExportedRecord { cid: row.cid.0, is_wanted: true, value: row.value }).collect())
}

/// The records at these keys, in the order of the keys, without values of more than `max_bytes` and of those not written
/// after `since`, which are not wanted. Ends before the first key that has no record.
pub(super) async fn list_changed(
    conn: &mut PgConnection,
    account: AccountId,
    keys: (&[&str], &[&str]),
    (since, max_bytes): (Tid, i32),
) -> sqlx::Result<Vec<ExportedRecord>> {
    let rows = sqlx::query!(
        r#"
            SELECT
                r.cid AS "cid?: CidColumn", coalesce(r.rev > $4, false) AS "is_wanted!",
                CASE WHEN r.rev > $4 AND octet_length(r.value) <= $5 THEN r.value END AS value
            FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS k (collection, rkey, place)
            LEFT JOIN record r ON r.account_id = $1 AND r.collection = k.collection AND r.rkey = k.rkey
            ORDER BY k.place
        "#,
        account.get(),
        keys.0 as _,
        keys.1 as _,
        TextColumn(since) as _,
        max_bytes,
    )
    .fetch_all(conn)
    .await?;
    let records = rows
        .into_iter()
        .map_while(|row| Some(ExportedRecord { cid: row.cid?.0, is_wanted: row.is_wanted, value: row.value }));
    Ok(records.collect())
}

/// The value of a record, however long.
pub(super) async fn find_value(
    conn: &mut PgConnection,
    account: AccountId,
    (collection, rkey): (&str, &str),
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT value FROM record WHERE account_id = $1 AND collection = $2 AND rkey = $3",
        account.get(),
        collection,
        rkey,
    )
    .fetch_optional(conn)
    .await
}
