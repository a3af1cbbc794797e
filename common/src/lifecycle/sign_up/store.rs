//! All SQL of sign-ups.

use atproto::identity::plc::Operation;
use atproto::syntax::Did;
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::draft::Draft;
use crate::account::AccountId;
use crate::audit::Action;
use crate::db::TextColumn;

/// The error code that `account_create_v2` raises for an invitation that is not to be had.
pub(super) const INVITE_NOT_AVAILABLE: &str = "RK001";
/// The error code that `account_create_v2` raises if the DID is being ended.
pub(super) const DRAFT_UNDONE: &str = "RK002";

/// Notes that a DID is about to be made.
pub(super) async fn insert_draft(conn: &mut PgConnection, did: &Did, operation: &Operation) -> sqlx::Result<()> {
    let query =
        sqlx::query!("INSERT INTO account_draft (did, operation) VALUES ($1, $2)", did.as_str(), Json(operation) as _);
    query.execute(conn).await?;
    Ok(())
}

/// Forgets a DID that was to be made.
pub(super) async fn delete_draft(conn: &mut PgConnection, did: &Did) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM account_draft WHERE did = $1", did.as_str()).execute(conn).await?;
    Ok(())
}

/// A sign-up that came to nothing.
pub(super) struct StaleDraft {
    pub(super) did: Did,
    pub(super) operation: Operation,
    /// So old that nobody will send the operation any more.
    pub(super) is_old: bool,
}

/// The drafts that nobody has finished within five minutes. From now on nobody can.
pub(super) async fn claim_stale_drafts(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<StaleDraft>> {
    let rows = sqlx::query!(
        r#"
            UPDATE account_draft
            SET undoing = true
            WHERE did IN (
                SELECT did
                FROM account_draft
                WHERE created_at < clock_timestamp() - interval '5 minutes'
                ORDER BY created_at
                LIMIT $1
            )
            RETURNING
                did AS "did: TextColumn<Did>", operation AS "operation: Json<Operation>",
                created_at < clock_timestamp() - interval '1 hour' AS "is_old!"
        "#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let drafts =
        rows.into_iter().map(|row| StaleDraft { did: row.did.0, operation: row.operation.0, is_old: row.is_old });
    Ok(drafts.collect())
}

/// Makes an account with everything that belongs to it, and notes the operator who makes it, in one statement.
pub(super) async fn create_account(conn: &mut PgConnection, draft: &Draft) -> sqlx::Result<AccountId> {
    let kinds: Vec<&str> = draft.events.iter().map(|event| event.kind().name()).collect();
    let bodies: Vec<Vec<u8>> = draft.events.iter().map(atproto::event::Event::encode).collect();
    let made = sqlx::query!(
        r#"
            WITH made AS MATERIALIZED (
                SELECT account_create_v2(
                    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19
                ) AS id
            )
            SELECT
                id AS "id!: AccountId",
                CASE WHEN $20::text IS NOT NULL THEN audit_record_v1($20, $21, $1, $1, NULL, $22) END AS entry
            FROM made
        "#,
        draft.did.as_str(),
        draft.handle.as_str(),
        draft.email.as_str(),
        draft.password_hash.as_ref().map(crate::account::PasswordHash::as_str),
        draft.invite_code,
        draft.operation.is_some(),
        draft.delete_after,
        draft.public_key.to_string(),
        draft.sealed_key.key_id.as_str(),
        draft.sealed_key.bytes,
        draft.repo.head.as_bytes().as_slice(),
        draft.repo.rev.to_string(),
        draft.repo.root.as_bytes().as_slice(),
        &*draft.repo.commit_block,
        &*draft.repo.root_block,
        &kinds as _,
        &bodies,
        draft.refresh_token.id.as_str(),
        draft.refresh_token.expires_at,
        draft.operator.as_ref().map(ToString::to_string),
        Action::CreateAccount.name(),
        json!({ "handle": draft.handle, "email": draft.email.as_str() }),
    );
    Ok(made.fetch_one(conn).await?.id)
}
