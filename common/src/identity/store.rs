//! All SQL of identity.

use atproto::identity::DidDocument;
use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::did_resolver::Found;

pub(super) async fn find_document(conn: &mut PgConnection, did: &Did) -> sqlx::Result<Option<Found>> {
    let row = sqlx::query!(
        r#"SELECT document AS "document: Json<DidDocument>", updated_at FROM did_cache WHERE did = $1"#,
        did.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Found { document: row.document.0.into(), updated_at: row.updated_at }))
}

/// Stores a document, unless one that was fetched later is there.
pub(super) async fn upsert_document(conn: &mut PgConnection, did: &Did, found: &Found) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
            INSERT INTO did_cache (did, document, updated_at) VALUES ($1, $2, $3)
            ON CONFLICT (did) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at
            WHERE did_cache.updated_at <= excluded.updated_at
        "#,
        did.as_str(),
        Json(&*found.document) as _,
        found.updated_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the document of a DID: whoever needs it fetches it. Replicas may remember it for half a minute more.
pub async fn delete_document(conn: &mut PgConnection, did: &Did) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM did_cache WHERE did = $1", did.as_str()).execute(conn).await?;
    Ok(())
}

/// When the newest document but `newer` was fetched; `None` if there are no more than those.
pub(super) async fn find_time_of(conn: &mut PgConnection, newer: u32) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT updated_at FROM did_cache ORDER BY updated_at DESC OFFSET $1 LIMIT 1",
        i64::from(newer),
    )
    .fetch_optional(conn)
    .await
}

/// Deletes documents that were fetched at `until` or before, the oldest first, at most `limit`; gives how many. Those that
/// somebody is writing are left alone: they are new.
pub(super) async fn delete_documents(conn: &mut PgConnection, until: DateTime<Utc>, limit: u16) -> sqlx::Result<u64> {
    let deletion = sqlx::query!(
        r#"
            DELETE FROM did_cache
            WHERE did IN (
                SELECT did FROM did_cache WHERE updated_at <= $1 ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED
            )
        "#,
        until,
        i64::from(limit),
    );
    Ok(deletion.execute(conn).await?.rows_affected())
}
