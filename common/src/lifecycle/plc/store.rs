//! All SQL of changes to DIDs.

use std::time::Duration;

use atproto::syntax::Did;
use sqlx::PgConnection;

use crate::account::Principal;
use crate::audit::Actor;
use crate::db::{AccountId, TextColumn};

/// A change that is on its way through the directory, or was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Submission {
    pub(super) id: i64,
    pub(super) account: AccountId,
    pub(super) did: Did,
}

/// Appends an `#identity` event of an account, and notes who asked for it; its seq, or `None` if the account is gone.
pub(super) async fn announce(
    conn: &mut PgConnection,
    account: &Principal,
    body: &[u8],
    actor: Option<&Actor>,
) -> sqlx::Result<Option<i64>> {
    let query = sqlx::query_scalar!(
        "SELECT identity_announce_v3($1, $2, $3, $4)",
        actor.map(ToString::to_string),
        account.id.get(),
        account.did.as_str(),
        body,
    );
    query.fetch_one(conn).await
}

/// Notes a change that the directory is about to hear of; gives its number.
pub(super) async fn insert_submission(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<i64> {
    sqlx::query_scalar!("INSERT INTO plc_submission (account_id) VALUES ($1) RETURNING id", account.get())
        .fetch_one(conn)
        .await
}

/// Forgets a change that did not come about.
pub(super) async fn delete_submission(conn: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM plc_submission WHERE id = $1", id).execute(conn).await?;
    Ok(())
}

/// Appends the `#identity` event of a change; its seq, or `None` if the account is gone or it was announced before.
pub(super) async fn announce_submission(
    conn: &mut PgConnection,
    (id, account): (i64, AccountId),
    body: &[u8],
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("SELECT identity_announce_v2($1, $2, $3)", account.get(), id, body).fetch_one(conn).await
}

/// The next changes after the one numbered `after` that have been on their way for longer than `age`, the oldest first.
pub(super) async fn list_submissions(
    conn: &mut PgConnection,
    age: Duration,
    (after, limit): (i64, i64),
) -> sqlx::Result<Vec<Submission>> {
    let rows = sqlx::query!(
        r#"
            SELECT s.id, s.account_id AS "account: AccountId", a.did AS "did: TextColumn<Did>"
            FROM plc_submission s
            JOIN account a ON a.id = s.account_id
            WHERE s.id > $1 AND s.created_at < clock_timestamp() - make_interval(secs => $2)
            ORDER BY s.id
            LIMIT $3
        "#,
        after,
        age.as_secs_f64(),
        limit,
    );
    let rows = rows.fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| Submission { id: row.id, account: row.account, did: row.did.0 }).collect())
}
