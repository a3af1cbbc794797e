//! All SQL of imports.

use std::time::Duration;

use sqlx::PgConnection;

use super::finish::SignedRepo;
use super::tree::{Checked, Chunk};
use crate::db::AccountId;

/// The right to load into an account's next repo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    pub(super) account: AccountId,
    /// What the loaded rows are marked with.
    id: i64,
}

/// What `repo_import_finish_v1` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Applied,
    /// The repo's head is this commit already: an earlier call applied it and its answer was lost.
    AppliedBefore,
    HeadMoved,
    NoRepo,
    Takendown,
    /// The claim is another's.
    Superseded,
    /// Loaded rows are missing.
    Incomplete,
}

/// Claims the import of an account, unless another holds an unexpired claim. Removes what an expired one has left.
pub(super) async fn insert_claim(
    conn: &mut PgConnection,
    account: AccountId,
    lease: Duration,
) -> sqlx::Result<Option<Claim>> {
    let id = sqlx::query_scalar!(
        r#"
            WITH old AS (
                SELECT id FROM repo_import WHERE account_id = $1
            ), claim AS (
                INSERT INTO repo_import (account_id, leased_until)
                VALUES ($1, clock_timestamp() + make_interval(secs => $2))
                ON CONFLICT (account_id) DO UPDATE SET id = DEFAULT, leased_until = excluded.leased_until
                WHERE repo_import.leased_until < clock_timestamp()
                RETURNING id
            ), old_records AS (
                DELETE FROM repo_import_record
                WHERE import_id = (SELECT id FROM old) AND EXISTS (SELECT FROM claim)
            ), old_blobs AS (
                DELETE FROM repo_import_blob
                WHERE import_id = (SELECT id FROM old) AND EXISTS (SELECT FROM claim)
            ), old_nodes AS (
                DELETE FROM repo_import_node
                WHERE import_id = (SELECT id FROM old) AND EXISTS (SELECT FROM claim)
            )
            SELECT id FROM claim
        "#,
        account.get(),
        lease.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.map(|id| Claim { account, id }))
}

/// Renews a claim; false if it is another's by now.
pub(super) async fn update_claim(conn: &mut PgConnection, claim: Claim, lease: Duration) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        r#"
            UPDATE repo_import SET leased_until = clock_timestamp() + make_interval(secs => $3)
            WHERE account_id = $1 AND id = $2
        "#,
        claim.account.get(),
        claim.id,
        lease.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Loads a chunk and renews the claim; false, and nothing is loaded, if it is another's by now.
pub(super) async fn insert_chunk(
    conn: &mut PgConnection,
    claim: Claim,
    chunk: &Chunk,
    lease: Duration,
) -> sqlx::Result<bool> {
    let records = &chunk.records;
    let collection: Vec<&str> = records.iter().map(|record| record.collection.as_str()).collect();
    let rkey: Vec<&str> = records.iter().map(|record| record.rkey.as_str()).collect();
    let cid: Vec<&[u8]> = records.iter().map(|record| record.cid.as_bytes().as_slice()).collect();
    let value: Vec<&[u8]> = records.iter().map(|record| record.value.as_slice()).collect();
    let target: Vec<Option<&str>> = records.iter().map(|record| record.target.as_deref()).collect();
    let blobs = &chunk.blobs;
    let blob_cid: Vec<&[u8]> = blobs.iter().map(|blob| blob.cid.as_bytes().as_slice()).collect();
    let blob_collection: Vec<&str> = blobs.iter().map(|blob| blob.collection.as_str()).collect();
    let blob_rkey: Vec<&str> = blobs.iter().map(|blob| blob.rkey.as_str()).collect();
    let node_cid: Vec<&[u8]> = chunk.nodes.iter().map(|(cid, _)| cid.as_bytes().as_slice()).collect();
    let node_bytes: Vec<&[u8]> = chunk.nodes.iter().map(|(_, bytes)| &bytes[..]).collect();
    let claimed = sqlx::query_scalar!(
        r#"
            WITH claim AS (
                UPDATE repo_import SET leased_until = clock_timestamp() + make_interval(secs => $3)
                WHERE account_id = $1 AND id = $2
                RETURNING id
            ), records AS (
                INSERT INTO repo_import_record (import_id, collection, rkey, cid, value, target)
                SELECT claim.id, r.collection, r.rkey, r.cid, r.value, r.target
                FROM claim, unnest($4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::text[])
                    AS r (collection, rkey, cid, value, target)
            ), blobs AS (
                INSERT INTO repo_import_blob (import_id, cid, collection, rkey)
                SELECT claim.id, b.cid, b.collection, b.rkey
                FROM claim, unnest($9::bytea[], $10::text[], $11::text[]) AS b (cid, collection, rkey)
            ), nodes AS (
                INSERT INTO repo_import_node (import_id, cid, bytes)
                SELECT claim.id, n.cid, n.bytes
                FROM claim, unnest($12::bytea[], $13::bytea[]) AS n (cid, bytes)
            )
            SELECT id FROM claim
        "#,
        claim.account.get(),
        claim.id,
        lease.as_secs_f64(),
        &collection as _,
        &rkey as _,
        &cid as _,
        &value as _,
        &target as _,
        &blob_cid as _,
        &blob_collection as _,
        &blob_rkey as _,
        &node_cid as _,
        &node_bytes as _,
    )
    .fetch_optional(conn)
    .await?;
    Ok(claimed.is_some())
}

/// Replaces the repo by what was loaded, in one statement.
pub(super) async fn finish(
    conn: &mut PgConnection,
    claim: Claim,
    checked: &Checked,
    repo: &SignedRepo,
) -> sqlx::Result<Outcome> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let verdict = sqlx::query_scalar!(
        r#"SELECT repo_import_finish_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS "verdict!""#,
        claim.id,
        claim.account.get(),
        repo.expected.as_bytes().as_slice(),
        repo.head.cid.as_bytes().as_slice(),
        repo.head.rev.to_string(),
        repo.head.root.as_bytes().as_slice(),
        &repo.commit_block[..],
        count(checked.records),
        count(checked.nodes),
        &repo.event,
    )
    .fetch_one(conn)
    .await?;
    Ok(match &*verdict {
        "applied" => Outcome::Applied,
        "applied_before" => Outcome::AppliedBefore,
        "head_moved" => Outcome::HeadMoved,
        "no_repo" => Outcome::NoRepo,
        "takendown" => Outcome::Takendown,
        "superseded" => Outcome::Superseded,
        "incomplete" => Outcome::Incomplete,
        other => return Err(sqlx::Error::Decode(format!("unknown verdict {other}").into())),
    })
}

/// Gives a claim back and removes what was loaded under it.
pub(super) async fn delete_claim(conn: &mut PgConnection, claim: Claim) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
            WITH claim AS (
                DELETE FROM repo_import WHERE account_id = $1 AND id = $2
            ), records AS (
                DELETE FROM repo_import_record WHERE import_id = $2
            ), blobs AS (
                DELETE FROM repo_import_blob WHERE import_id = $2
            )
            DELETE FROM repo_import_node WHERE import_id = $2
        "#,
        claim.account.get(),
        claim.id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes expired claims and what was loaded under them; gives their number.
pub(super) async fn delete_expired(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
            WITH expired AS (
                DELETE FROM repo_import WHERE leased_until < clock_timestamp() RETURNING id
            ), records AS (
                DELETE FROM repo_import_record WHERE import_id IN (SELECT id FROM expired)
            ), blobs AS (
                DELETE FROM repo_import_blob WHERE import_id IN (SELECT id FROM expired)
            ), nodes AS (
                DELETE FROM repo_import_node WHERE import_id IN (SELECT id FROM expired)
            )
            SELECT count(*) AS "count!" FROM expired
        "#
    )
    .fetch_one(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::super::tree::CheckedRecord;
    use super::*;
    use crate::blob::Reference;
    use crate::testing::TestDb;

    const LONG: Duration = Duration::from_mins(10);

    fn chunk() -> Chunk {
        let (value, cid) = (b"\xa0".to_vec(), atproto::data::Cid::dag_cbor(b"\xa0"));
        let record = CheckedRecord {
            collection: "a.b.c".parse().unwrap(),
            rkey: "x".parse().unwrap(),
            cid,
            value,
            target: None,
        };
        let blob = Reference { cid, collection: record.collection.clone(), rkey: record.rkey.clone() };
        let blobs = vec![blob];
        Chunk {
            records: vec![record],
            blobs,
            nodes: vec![(cid, bytes::Bytes::from_static(b"\xa0"))],
            ..Chunk::default()
        }
    }

    /// Rows of records, blob references and nodes that are loaded.
    async fn loaded(conn: &mut PgConnection) -> [i64; 3] {
        let query = sqlx::query!(
            r#"
                SELECT
                    (SELECT count(*) FROM repo_import_record) AS "records!",
                    (SELECT count(*) FROM repo_import_blob) AS "blobs!",
                    (SELECT count(*) FROM repo_import_node) AS "nodes!"
            "#
        );
        let row = query.fetch_one(conn).await.unwrap();
        [row.records, row.blobs, row.nodes]
    }

    #[tokio::test]
    async fn an_account_has_one_import_at_a_time() {
        let db = TestDb::create().await;
        let conn = &mut *db.pool().acquire().await.unwrap();
        let (alice, bob) = (AccountId::new(1), AccountId::new(2));
        let claim = insert_claim(conn, alice, LONG).await.unwrap().unwrap();
        assert_eq!(insert_claim(conn, alice, LONG).await.unwrap(), None);
        assert!(insert_claim(conn, bob, LONG).await.unwrap().is_some());
        assert!(insert_chunk(conn, claim, &chunk(), LONG).await.unwrap());
        delete_claim(conn, claim).await.unwrap();
        assert_eq!(loaded(conn).await, [0, 0, 0]);
        assert!(insert_claim(conn, alice, LONG).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn an_expired_import_is_replaced_and_can_load_no_more() {
        let db = TestDb::create().await;
        let conn = &mut *db.pool().acquire().await.unwrap();
        let alice = AccountId::new(1);
        let old = insert_claim(conn, alice, LONG).await.unwrap().unwrap();
        assert!(insert_chunk(conn, old, &chunk(), Duration::ZERO).await.unwrap());
        let new = insert_claim(conn, alice, LONG).await.unwrap().unwrap();
        assert_ne!(new, old);
        assert_eq!(loaded(conn).await, [0, 0, 0]);
        assert!(!insert_chunk(conn, old, &chunk(), LONG).await.unwrap());
        assert!(!update_claim(conn, old, LONG).await.unwrap());
        assert_eq!(loaded(conn).await, [0, 0, 0]);
        assert!(insert_chunk(conn, new, &chunk(), LONG).await.unwrap());
        // It goes with what it has loaded itself.
        delete_claim(conn, old).await.unwrap();
        assert_eq!(loaded(conn).await, [1, 1, 1]);
    }

    #[tokio::test]
    async fn only_expired_imports_are_purged() {
        let db = TestDb::create().await;
        let conn = &mut *db.pool().acquire().await.unwrap();
        for (account, lease) in [(1, LONG), (2, Duration::ZERO), (3, Duration::ZERO)] {
            let claim = insert_claim(conn, AccountId::new(account), LONG).await.unwrap().unwrap();
            assert!(insert_chunk(conn, claim, &chunk(), lease).await.unwrap());
        }
        assert_eq!(delete_expired(conn).await.unwrap(), 2);
        assert_eq!(delete_expired(conn).await.unwrap(), 0);
        assert_eq!(loaded(conn).await, [1, 1, 1]);
    }
}
