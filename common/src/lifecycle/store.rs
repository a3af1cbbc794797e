//! All SQL of the workflows.

use sqlx::PgConnection;

use super::draft::Draft;
use crate::account::AccountId;

/// The error code that `account_create_v1` raises for an invitation that is not to be had.
pub(super) const INVITE_NOT_AVAILABLE: &str = "RK001";

/// Makes an account with everything that belongs to it.
pub(super) async fn create_account(conn: &mut PgConnection, draft: &Draft) -> sqlx::Result<AccountId> {
    let kinds: Vec<&str> = draft.events.iter().map(|event| event.kind().name()).collect();
    let bodies: Vec<Vec<u8>> = draft.events.iter().map(atproto::event::Event::encode).collect();
    sqlx::query_scalar!(
        r#"
            SELECT account_create_v1(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
            ) AS "id!: AccountId"
        "#,
        draft.did.as_str(),
        draft.handle.as_str(),
        draft.email.as_str(),
        draft.password_hash.as_ref().map(crate::account::PasswordHash::as_str),
        draft.invite_code,
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
    )
    .fetch_one(conn)
    .await
}
