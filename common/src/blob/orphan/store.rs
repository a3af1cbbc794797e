//! The SQL of orphans.

use sqlx::PgConnection;

use crate::blob::Listed;

/// The places in `objects` of those that no row names.
pub(super) async fn list_unknown(conn: &mut PgConnection, objects: &[Listed]) -> sqlx::Result<Vec<usize>> {
    let (dids, cids) = columns(objects);
    let rows = sqlx::query_scalar!(
        r#"
            SELECT o.place AS "place!"
            FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS o (did, cid, place)
            WHERE NOT EXISTS (
                SELECT FROM account a JOIN blob b ON b.account_id = a.id WHERE a.did = o.did AND b.cid = o.cid
            ) AND NOT EXISTS (SELECT FROM blob_deletion d WHERE d.did = o.did AND d.cid = o.cid)
        "#,
        &dids as _,
        &cids as _,
    )
    .fetch_all(conn)
    .await?;
    // Places begin with 1.
    Ok(rows.into_iter().filter_map(|place| usize::try_from(place - 1).ok()).collect())
}

/// As [`super::Orphans::give_up`].
pub(super) async fn insert_deletions(conn: &mut PgConnection, orphans: &[Listed]) -> sqlx::Result<u64> {
    let (dids, cids) = columns(orphans);
    let query = sqlx::query!(
        r#"
            INSERT INTO blob_deletion (did, cid)
            SELECT DISTINCT o.did, o.cid
            FROM unnest($1::text[], $2::bytea[]) AS o (did, cid)
            WHERE NOT EXISTS (
                SELECT FROM account a JOIN blob b ON b.account_id = a.id WHERE a.did = o.did AND b.cid = o.cid
            )
            ON CONFLICT (did, cid) DO NOTHING
        "#,
        &dids as _,
        &cids as _,
    );
    Ok(query.execute(conn).await?.rows_affected())
}

fn columns(objects: &[Listed]) -> (Vec<&str>, Vec<&[u8]>) {
    objects.iter().map(|object| (object.did.as_str(), object.cid.as_bytes().as_slice())).unzip()
}
