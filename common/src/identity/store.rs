//! All SQL of identity.

use atproto::identity::DidDocument;
use atproto::syntax::Did;
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
