//! The SQL of hidden records.

use atproto::syntax::Did;
use sqlx::PgConnection;

use super::super::RecordPath;
use super::RecordMark;
use crate::db::{AccountId, CidColumn};

/// As [`super::super::Repos::find_mark`].
pub(super) async fn find_mark(
    conn: &mut PgConnection,
    did: &Did,
    path: &RecordPath,
) -> sqlx::Result<Option<RecordMark>> {
    let row = sqlx::query!(
        r#"
            SELECT cid AS "cid: CidColumn", takedown_ref
            FROM record
            WHERE account_id = (SELECT id FROM account WHERE did = $1) AND collection = $2 AND rkey = $3
        "#,
        did.as_str(),
        path.collection.as_str(),
        path.rkey.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| RecordMark { cid: row.cid.0, takedown_ref: row.takedown_ref }))
}

/// Holds a repo against commits; `None` if there is none.
pub(super) async fn lock_repo(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<AccountId>> {
    sqlx::query_scalar!(
        r#"
            SELECT account_id AS "account: AccountId"
            FROM repo
            WHERE account_id = (SELECT id FROM account WHERE did = $1)
            FOR UPDATE
        "#,
        did.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// Sets or clears the mark of a record of a repo that is locked. Gives what was before; `None` if there is no such record.
pub(super) async fn update_mark(
    conn: &mut PgConnection,
    account: AccountId,
    path: &RecordPath,
    reference: Option<&str>,
) -> sqlx::Result<Option<RecordMark>> {
    let row = sqlx::query!(
        r#"
            WITH old AS (
                SELECT takedown_ref FROM record WHERE account_id = $1 AND collection = $2 AND rkey = $3
            )
            UPDATE record
            SET takedown_ref = $4
            FROM old
            WHERE account_id = $1 AND collection = $2 AND rkey = $3
            RETURNING cid AS "cid: CidColumn", old.takedown_ref
        "#,
        account.get(),
        path.collection.as_str(),
        path.rkey.as_str(),
        reference,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| RecordMark { cid: row.cid.0, takedown_ref: row.takedown_ref }))
}
