//! The SQL that writes repositories.

use atproto::syntax::Tid;
use sqlx::PgConnection;

use super::super::chain::PlannedChain;
use super::super::plan::WrittenRecord;
use super::super::store::Head;
use crate::db::{AccountId, CidColumn, TextColumn};

/// A replica, as Postgres tells it from others that write the same repos.
#[derive(Clone, Copy, Debug)]
pub(in crate::repo) struct Writer(i64);

impl Writer {
    /// One that no other replica has.
    pub(in crate::repo) fn random() -> Self {
        Self(rand::random())
    }
}

/// What `repo_commit_batch_v2` says of one chain of commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::repo) enum Outcome {
    Applied,
    /// The repo's head is the chain's last commit already: an earlier call applied it and its answer was lost.
    AppliedBefore,
    HeadMoved,
    /// Somebody else is at work on the repo.
    Busy,
    NoRepo,
    Deactivated,
    Takendown,
    /// A blob that a commit refers to is not there, or somebody else is at work on it.
    BlobMissing,
}

/// A batch of chains in the flat form of `repo_commit_batch_v2`: one array a column, `*_chain` naming the 1-based place of
/// the chain an element belongs to.
#[derive(Default)]
pub(in crate::repo) struct CommitBatch<'a> {
    account: Vec<i64>,
    expected: Vec<&'a [u8]>,
    head: Vec<&'a [u8]>,
    rev: Vec<String>,
    root: Vec<&'a [u8]>,
    commit_block: Vec<&'a [u8]>,
    growth: Vec<i64>,
    event_chain: Vec<i32>,
    event: Vec<&'a [u8]>,
    record_chain: Vec<i32>,
    record_collection: Vec<&'a str>,
    record_rkey: Vec<&'a str>,
    record_rev: Vec<String>,
    record_cid: Vec<&'a [u8]>,
    record_value: Vec<&'a [u8]>,
    record_target: Vec<Option<&'a str>>,
    record_rewritten: Vec<bool>,
    reference_record: Vec<i32>,
    reference_cid: Vec<&'a [u8]>,
    blob_chain: Vec<i32>,
    blob_cid: Vec<&'a [u8]>,
    dropped_record_chain: Vec<i32>,
    dropped_record_collection: Vec<&'a str>,
    dropped_record_rkey: Vec<&'a str>,
    collection_chain: Vec<i32>,
    collection_name: Vec<&'a str>,
    collection_gained: Vec<bool>,
    node_chain: Vec<i32>,
    node_cid: Vec<&'a [u8]>,
    node_rev: Vec<String>,
    node_bytes: Vec<&'a [u8]>,
    dropped_node_chain: Vec<i32>,
    dropped_node_cid: Vec<&'a [u8]>,
}

impl<'a> FromIterator<&'a PlannedChain> for CommitBatch<'a> {
    fn from_iter<I: IntoIterator<Item = &'a PlannedChain>>(chains: I) -> Self {
        let mut batch = Self::default();
        for (place, chain) in (1..).zip(chains) {
            batch.push(place, chain);
        }
        batch
    }
}

impl<'a> CommitBatch<'a> {
    fn push(&mut self, place: i32, chain: &'a PlannedChain) {
        self.account.push(chain.account.get());
        self.expected.push(chain.expected.as_bytes());
        self.head.push(chain.head.cid.as_bytes());
        self.rev.push(chain.head.rev.to_string());
        self.root.push(chain.head.root.as_bytes());
        self.commit_block.push(&chain.commit_block);
        self.growth.push(chain.growth);
        for event in &chain.events {
            self.event_chain.push(place);
            self.event.push(event);
        }
        for record in &chain.written {
            self.push_record(place, record);
        }
        for cid in &chain.blobs {
            self.blob_chain.push(place);
            self.blob_cid.push(cid.as_bytes());
        }
        for (collection, rkey) in &chain.dropped {
            self.dropped_record_chain.push(place);
            self.dropped_record_collection.push(collection.as_str());
            self.dropped_record_rkey.push(rkey.as_str());
        }
        for change in &chain.collections {
            self.collection_chain.push(place);
            self.collection_name.push(&change.collection);
            self.collection_gained.push(change.gained);
        }
        for (rev, node) in &chain.added_nodes {
            self.node_chain.push(place);
            self.node_rev.push(rev.to_string());
            self.node_cid.push(node.cid.as_bytes());
            self.node_bytes.push(&node.bytes);
        }
        for cid in &chain.dropped_nodes {
            self.dropped_node_chain.push(place);
            self.dropped_node_cid.push(cid.as_bytes());
        }
    }

    fn push_record(&mut self, place: i32, record: &'a WrittenRecord) {
        self.record_chain.push(place);
        self.record_collection.push(record.collection.as_str());
        self.record_rkey.push(record.rkey.as_str());
        self.record_rev.push(record.rev.to_string());
        self.record_cid.push(record.cid.as_bytes());
        self.record_value.push(&record.value);
        self.record_target.push(record.target.as_deref());
        self.record_rewritten.push(record.rewritten);
        // A batch is far from having so many records.
        let number = i32::try_from(self.record_chain.len()).unwrap_or(i32::MAX);
        for cid in &record.blobs {
            self.reference_record.push(number);
            self.reference_cid.push(cid.as_bytes());
        }
    }
}

/// Applies a batch of `writer`'s in one statement. Gives each chain's 0-based place and what became of it.
pub(in crate::repo) async fn commit_batch(
    conn: &mut PgConnection,
    writer: Writer,
    batch: &CommitBatch<'_>,
) -> sqlx::Result<Vec<(usize, Outcome)>> {
    let rows = sqlx::query!(
        r#"
            SELECT ordinal AS "ordinal!", verdict AS "verdict!"
            FROM repo_commit_batch_v2(
                $1,
                $2, $3, $4, $5, $6, $7, $8,
                $9, $10,
                $11, $12, $13, $14, $15, $16, $17, $18,
                $19, $20, $21, $22,
                $23, $24, $25,
                $26, $27, $28,
                $29, $30, $31, $32,
                $33, $34
            )
        "#,
        writer.0,
        &batch.account,
        &batch.expected as _,
        &batch.head as _,
        &batch.rev,
        &batch.root as _,
        &batch.commit_block as _,
        &batch.growth,
        &batch.event_chain,
        &batch.event as _,
        &batch.record_chain,
        &batch.record_collection as _,
        &batch.record_rkey as _,
        &batch.record_rev,
        &batch.record_cid as _,
        &batch.record_value as _,
        &batch.record_target as _,
        &batch.record_rewritten,
        &batch.reference_record,
        &batch.reference_cid as _,
        &batch.blob_chain,
        &batch.blob_cid as _,
        &batch.dropped_record_chain,
        &batch.dropped_record_collection as _,
        &batch.dropped_record_rkey as _,
        &batch.collection_chain,
        &batch.collection_name as _,
        &batch.collection_gained,
        &batch.node_chain,
        &batch.node_cid as _,
        &batch.node_rev,
        &batch.node_bytes as _,
        &batch.dropped_node_chain,
        &batch.dropped_node_cid as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let place = usize::try_from(row.ordinal - 1).map_err(|error| sqlx::Error::Decode(error.into()))?;
            Ok((place, parse_outcome(&row.verdict)?))
        })
        .collect()
}

fn parse_outcome(verdict: &str) -> sqlx::Result<Outcome> {
    Ok(match verdict {
        "applied" => Outcome::Applied,
        "applied_before" => Outcome::AppliedBefore,
        "head_moved" => Outcome::HeadMoved,
        "busy" => Outcome::Busy,
        "no_repo" => Outcome::NoRepo,
        "deactivated" => Outcome::Deactivated,
        "takendown" => Outcome::Takendown,
        "blob_missing" => Outcome::BlobMissing,
        other => return Err(sqlx::Error::Decode(format!("unknown verdict {other}").into())),
    })
}

/// Waits until no statement is at work on these repos, or for as long as Postgres waits for a lock.
pub(super) async fn await_writers(conn: &mut PgConnection, accounts: &[i64]) -> sqlx::Result<()> {
    let query = sqlx::query!("SELECT FROM repo WHERE account_id = ANY ($1) ORDER BY account_id FOR SHARE", accounts,);
    query.execute(conn).await?;
    Ok(())
}

/// Reserves the repo's next commit for `writer`, for a second at most, and gives its head. Waits for a commit that is being
/// stored. `None` if another writer was faster, or there is no such repo.
pub(in crate::repo) async fn update_turn(
    conn: &mut PgConnection,
    account: AccountId,
    writer: Writer,
) -> sqlx::Result<Option<Head>> {
    let row = sqlx::query!(
        r#"
            UPDATE repo
            SET turn_writer = $2, turn_until = clock_timestamp() + interval '1 second'
            WHERE account_id = $1 AND (turn_until IS NULL OR turn_until < clock_timestamp() OR turn_writer = $2)
            RETURNING head AS "head: CidColumn", rev AS "rev: TextColumn<Tid>", root AS "root: CidColumn"
        "#,
        account.get(),
        writer.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Head { cid: row.head.0, rev: row.rev.0, root: row.root.0 }))
}

/// Ends a turn of `writer`'s that came to no commit.
pub(in crate::repo) async fn update_turn_ended(
    conn: &mut PgConnection,
    account: AccountId,
    writer: Writer,
) -> sqlx::Result<()> {
    let query = sqlx::query!(
        "UPDATE repo SET turn_writer = NULL, turn_until = NULL WHERE account_id = $1 AND turn_writer = $2",
        account.get(),
        writer.0,
    );
    query.execute(conn).await?;
    Ok(())
}
