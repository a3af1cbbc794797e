//! Damage to a stored repo, as a bug, a bad disk or a hand at the database would do it.

use atproto::commit::UnsignedCommit;
use atproto::crypto::SigningKey;
use atproto::data::Cid;
use atproto::mst::{NewNode, Node};

use super::seed::SeededRepo;
use crate::db::{AccountId, CidColumn, PgPool};

/// Loses one tree node, not the root. Gives its CID.
///
/// # Panics
/// If there is none, or Postgres refuses.
pub async fn lose_node(pool: &PgPool, account: AccountId) -> Cid {
    let query = sqlx::query_scalar!(
        r#"
            DELETE FROM mst_node
            WHERE account_id = $1 AND cid = (
                SELECT n.cid
                FROM mst_node n JOIN repo r ON r.account_id = n.account_id
                WHERE n.account_id = $1 AND n.cid <> r.root
                ORDER BY n.cid LIMIT 1
            )
            RETURNING cid AS "cid: CidColumn"
        "#,
        account.get(),
    );
    query.fetch_one(pool).await.expect("a node to lose").0
}

/// Changes a byte of the root of the tree. Gives its CID.
///
/// # Panics
/// If Postgres refuses.
pub async fn alter_root(pool: &PgPool, account: AccountId) -> Cid {
    let query = sqlx::query_scalar!(
        r#"
            UPDATE mst_node n
            SET bytes = set_byte(n.bytes, length(n.bytes) - 1, get_byte(n.bytes, length(n.bytes) - 1) # 1)
            FROM repo r
            WHERE r.account_id = $1 AND n.account_id = r.account_id AND n.cid = r.root
            RETURNING n.cid AS "cid: CidColumn"
        "#,
        account.get(),
    );
    query.fetch_one(pool).await.expect("a root to alter").0
}

/// Keeps the node of the empty tree, to which the tree of a repo with records does not lead. Gives its CID.
///
/// # Panics
/// If Postgres refuses.
pub async fn add_node(pool: &PgPool, account: AccountId) -> Cid {
    let node = NewNode::new(Node::empty());
    let query = sqlx::query!(
        "INSERT INTO mst_node (account_id, cid, rev, bytes) SELECT account_id, $2, rev, $3 FROM repo WHERE account_id = $1",
        account.get(),
        node.cid.as_bytes(),
        &*node.bytes,
    );
    query.execute(pool).await.expect("a node");
    node.cid
}

/// Changes the last byte of a record.
///
/// # Panics
/// If Postgres refuses.
pub async fn alter_record(pool: &PgPool, account: AccountId, collection: &str, rkey: &str) {
    let query = sqlx::query!(
        r#"
            UPDATE record
            SET value = set_byte(value, length(value) - 1, get_byte(value, length(value) - 1) # 1)
            WHERE account_id = $1 AND collection = $2 AND rkey = $3
        "#,
        account.get(),
        collection,
        rkey,
    );
    query.execute(pool).await.expect("a record to alter");
}

/// Writes a value into a record that the tree knows nothing of, CID and all; makes the record if there is none.
///
/// # Panics
/// If Postgres refuses.
pub async fn put_record(pool: &PgPool, account: AccountId, path: (&str, &str), value: &[u8]) {
    let cid = Cid::dag_cbor(value);
    let query = sqlx::query!(
        r#"
            INSERT INTO record (account_id, collection, rkey, cid, rev, value, indexed_at)
            SELECT account_id, $2, $3, $4, rev, $5, clock_timestamp() FROM repo WHERE account_id = $1
            ON CONFLICT (account_id, collection, rkey) DO UPDATE SET cid = excluded.cid, value = excluded.value
        "#,
        account.get(),
        path.0,
        path.1,
        cid.as_bytes(),
        value,
    );
    query.execute(pool).await.expect("a record");
}

/// Sets the number of records to one more than it is.
///
/// # Panics
/// If Postgres refuses.
pub async fn miscount(pool: &PgPool, account: AccountId) {
    let query = sqlx::query!("UPDATE repo SET record_count = record_count + 1 WHERE account_id = $1", account.get());
    query.execute(pool).await.expect("an update");
}

/// Gives all records and nodes a rev that is still to come.
///
/// # Panics
/// If Postgres refuses.
pub async fn postdate(pool: &PgPool, account: AccountId) {
    for query in [
        sqlx::query!("UPDATE record SET rev = '7777777777777' WHERE account_id = $1", account.get()),
        sqlx::query!("UPDATE mst_node SET rev = '7777777777777' WHERE account_id = $1", account.get()),
    ] {
        query.execute(pool).await.expect("an update");
    }
}

/// Changes a byte in the middle of the commit's signature.
///
/// # Panics
/// If Postgres refuses.
pub async fn alter_commit(pool: &PgPool, account: AccountId) {
    let query = sqlx::query!(
        "UPDATE repo SET commit_block = set_byte(commit_block, 90, get_byte(commit_block, 90) # 1) WHERE account_id = $1",
        account.get(),
    );
    query.execute(pool).await.expect("an update");
}

/// Puts a commit in place that says the same, signed with another key.
///
/// # Panics
/// If Postgres refuses.
pub async fn forge_commit(pool: &PgPool, repo: &SeededRepo, key: &SigningKey) {
    let block = super::seed::repo_head(pool, repo.account).await;
    let commit = atproto::commit::Commit::decode(&block).expect("a commit");
    let forged = UnsignedCommit { did: commit.did, rev: commit.rev, data: commit.data }.sign(key);
    let (head, block) = forged.to_block();
    let query = sqlx::query!(
        "UPDATE repo SET head = $2, commit_block = $3 WHERE account_id = $1",
        repo.account.get(),
        head.as_bytes(),
        &*block,
    );
    query.execute(pool).await.expect("an update");
}

/// Keeps a link that no record stands for.
///
/// # Panics
/// If Postgres refuses.
pub async fn add_link(pool: &PgPool, account: AccountId, collection: &str, rkey: &str) {
    let query = sqlx::query!(
        "INSERT INTO backlink (account_id, collection, rkey, target) VALUES ($1, $2, $3, 'did:plc:nobody')",
        account.get(),
        collection,
        rkey,
    );
    query.execute(pool).await.expect("a link");
}

/// Turns all links of a repo to somewhere else.
///
/// # Panics
/// If Postgres refuses.
pub async fn turn_links(pool: &PgPool, account: AccountId) {
    let query = sqlx::query!("UPDATE backlink SET target = 'did:plc:elsewhere' WHERE account_id = $1", account.get());
    query.execute(pool).await.expect("an update");
}

/// Loses all links of a repo.
///
/// # Panics
/// If Postgres refuses.
pub async fn lose_links(pool: &PgPool, account: AccountId) {
    let query = sqlx::query!("DELETE FROM backlink WHERE account_id = $1", account.get());
    query.execute(pool).await.expect("a deletion");
}

/// Swaps the public halves of two accounts' keys.
///
/// # Panics
/// If Postgres refuses.
pub async fn swap_public_keys(pool: &PgPool, accounts: [AccountId; 2]) {
    let query = sqlx::query!(
        r#"
            UPDATE signing_key k SET public_key = o.public_key
            FROM signing_key o
            WHERE (k.account_id, o.account_id) IN (($1, $2), ($2, $1))
        "#,
        accounts[0].get(),
        accounts[1].get(),
    );
    query.execute(pool).await.expect("an update");
}

/// Swaps the public halves of the keys of the accounts with these DIDs.
///
/// # Panics
/// If Postgres refuses.
pub async fn swap_public_keys_of(pool: &PgPool, dids: [&str; 2]) {
    let query = sqlx::query_scalar!(r#"SELECT id AS "id: AccountId" FROM account WHERE did = ANY ($1)"#, &dids as _);
    let found = query.fetch_all(pool).await.expect("accounts");
    swap_public_keys(pool, [found[0], found[1]]).await;
}

/// The newest number of the log.
///
/// # Panics
/// If Postgres refuses.
pub async fn last_seq(pool: &PgPool) -> i64 {
    sqlx::query_scalar!("SELECT last_seq FROM sequencer").fetch_one(pool).await.expect("a number")
}

/// Loses an event.
///
/// # Panics
/// If Postgres refuses.
pub async fn lose_event(pool: &PgPool, seq: i64) {
    sqlx::query!("DELETE FROM repo_event WHERE seq = $1", seq).execute(pool).await.expect("a deletion");
}

/// Changes a byte in the middle of an event, which is in its blocks if it has any.
///
/// # Panics
/// If Postgres refuses.
pub async fn alter_event(pool: &PgPool, seq: i64) {
    let query = sqlx::query!(
        r#"
            UPDATE repo_event
            SET body = set_byte(body, length(body) / 2, get_byte(body, length(body) / 2) # 1)
            WHERE seq = $1
        "#,
        seq,
    );
    query.execute(pool).await.expect("an update");
}

/// Notes a blob for a record.
///
/// # Panics
/// If Postgres refuses.
pub async fn add_blob(pool: &PgPool, account: AccountId, path: (&str, &str), cid: Cid) {
    let query = sqlx::query!(
        r#"
            INSERT INTO record_blob (account_id, cid, collection, rkey, rev)
            SELECT account_id, $2, $3, $4, rev FROM repo WHERE account_id = $1
        "#,
        account.get(),
        cid.as_bytes(),
        path.0,
        path.1,
    );
    query.execute(pool).await.expect("a reference");
}

/// Notes a collection without records for a repo, and forgets those that have some.
///
/// # Panics
/// If Postgres refuses.
pub async fn swap_collections(pool: &PgPool, account: AccountId, stray: &str) {
    let query = sqlx::query!("DELETE FROM repo_collection WHERE account_id = $1", account.get());
    query.execute(pool).await.expect("a deletion");
    let query =
        sqlx::query!("INSERT INTO repo_collection (account_id, collection) VALUES ($1, $2)", account.get(), stray);
    query.execute(pool).await.expect("a collection");
}
