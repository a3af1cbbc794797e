//! What must be true of stored repos and of the log at any moment, whatever was done to them.
//!
//! It shares no code with the operator's check, `repo::Verifier`, and holds everything in memory: each keeps an eye on the
//! other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atproto::commit::Commit;
use atproto::crypto::PublicKey;
use atproto::data::{Cid, Ipld, cbor, find_blobs};
use atproto::event::{Event, Frame, frame};
use atproto::mst::{self, Key};
use atproto::syntax::{Did, Tid};
use sqlx::PgConnection;

use crate::db::{AccountId, CidColumn, PgPool, TextColumn};
use crate::sequencer::{PageLimit, START, Sequencer};

/// Checks that a repo's rows fit together and are complete: the commit is signed and names the tree, the stored nodes are
/// exactly those of the tree that the stored records make, the records are counted right, and the links, the collections and
/// the references to blobs are those of the records.
///
/// # Panics
/// If they do not, or there is no such repo.
pub async fn assert_repo_is_sound(pool: &PgPool, account: AccountId) {
    // One snapshot, so that a repo can be looked at while it is written.
    let mut conn = pool.acquire().await.expect("a connection");
    let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.expect("a snapshot");
    let repo = sqlx::query!(
        r#"
            SELECT
                a.did AS "did: TextColumn<Did>", k.public_key AS "public_key: TextColumn<PublicKey>",
                r.head AS "head: CidColumn", r.rev AS "rev: TextColumn<Tid>", r.root AS "root: CidColumn",
                r.commit_block, r.record_count
            FROM repo r
            JOIN account a ON a.id = r.account_id
            JOIN signing_key k ON k.account_id = r.account_id
            WHERE r.account_id = $1
        "#,
        account.get(),
    );
    let repo = repo.fetch_one(&mut *snapshot).await.expect("a repo");
    assert_eq!(Cid::dag_cbor(&repo.commit_block), repo.head.0, "the head names the commit");
    let commit = Commit::decode(&repo.commit_block).expect("a commit");
    commit.verify(&repo.public_key.0).expect("the account's signature");
    assert_eq!((&commit.did, commit.rev, commit.data), (&repo.did.0, repo.rev.0, repo.root.0));

    let records = sqlx::query!(
        r#"
            SELECT collection || '/' || rkey AS "key!: TextColumn<Key>", cid AS "cid: CidColumn",
                rev AS "rev: TextColumn<Tid>", value
            FROM record
            WHERE account_id = $1
        "#,
        account.get(),
    );
    let records = records.fetch_all(&mut *snapshot).await.expect("records");
    assert_eq!(usize::try_from(repo.record_count), Ok(records.len()), "records are counted");
    let (mut entries, mut targets, mut references) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for record in records {
        let key = record.key.0;
        assert_eq!(Cid::dag_cbor(&record.value), record.cid.0, "{key}");
        assert!(record.rev.0 <= repo.rev.0, "{key}");
        targets.extend(target(&key, &record.value).map(|target| (key.clone(), target)));
        let blobs = cbor::decode(&record.value).map(|value| find_blobs(&value)).unwrap_or_default();
        references.extend(blobs.iter().map(|blob| (blob.cid(), key.clone())));
        entries.insert(key, record.cid.0);
    }
    assert_collections(&mut snapshot, account, &entries).await;
    assert_references(&mut snapshot, account, &references).await;

    let nodes = sqlx::query!(
        r#"SELECT cid AS "cid: CidColumn", rev AS "rev: TextColumn<Tid>", bytes FROM mst_node WHERE account_id = $1"#,
        account.get(),
    );
    let nodes = nodes.fetch_all(&mut *snapshot).await.expect("nodes");
    assert!(nodes.iter().all(|node| node.rev.0 <= repo.rev.0));
    let stored: HashMap<Cid, Vec<u8>> = nodes.into_iter().map(|node| (node.cid.0, node.bytes)).collect();
    let mut built = HashMap::new();
    let root = mst::build(entries, |node| drop(built.insert(node.cid, node.bytes.to_vec()))).expect("a tree");
    assert_eq!(root, repo.root.0, "the records make the tree");
    assert!(stored == built, "exactly the tree's nodes are stored: {} of {}", stored.len(), built.len());

    let links = sqlx::query!(
        r#"SELECT collection || '/' || rkey AS "key!: TextColumn<Key>", target FROM backlink WHERE account_id = $1"#,
        account.get(),
    );
    let mut links: BTreeMap<Key, String> =
        links.fetch_all(&mut *snapshot).await.expect("links").into_iter().map(|row| (row.key.0, row.target)).collect();
    links.retain(|_, target| !target.is_empty());
    assert_eq!(links, targets, "the links are those of the records");
}

async fn assert_collections(conn: &mut PgConnection, account: AccountId, entries: &BTreeMap<Key, Cid>) {
    let query = sqlx::query_scalar!("SELECT collection FROM repo_collection WHERE account_id = $1", account.get());
    let stored: BTreeSet<String> = query.fetch_all(conn).await.expect("collections").into_iter().collect();
    let collections = entries.keys().map(|key| key.collection().to_owned());
    assert_eq!(stored, collections.collect(), "the collections are those of the records");
}

async fn assert_references(conn: &mut PgConnection, account: AccountId, expected: &BTreeSet<(Cid, Key)>) {
    let query = sqlx::query!(
        r#"
            SELECT cid AS "cid: CidColumn", collection || '/' || rkey AS "key!: TextColumn<Key>"
            FROM record_blob
            WHERE account_id = $1
        "#,
        account.get(),
    );
    let stored = query.fetch_all(conn).await.expect("references");
    let stored: BTreeSet<_> = stored.into_iter().map(|row| (row.cid.0, row.key.0)).collect();
    assert_eq!(stored, *expected, "the references to blobs are those of the records");
}

/// What a follow, block, like or repost points at; only well-formed targets are links.
fn target(key: &Key, value: &[u8]) -> Option<String> {
    let field = |value: Ipld, name: &str| match value {
        Ipld::Map(mut fields) => fields.remove(name),
        _ => None,
    };
    let subject = field(cbor::decode(value).ok()?, "subject")?;
    let (target, prefix) = match key.collection() {
        "app.bsky.graph.follow" | "app.bsky.graph.block" => (subject, "did:"),
        "app.bsky.feed.like" | "app.bsky.feed.repost" => (field(subject, "uri")?, "at://"),
        _ => return None,
    };
    match target {
        Ipld::String(target) if target.starts_with(prefix) => Some(target),
        _ => None,
    }
}

/// Checks the whole log as a relay would: numbers without gap from 1, and for each repo one unbroken chain of commits, each
/// of which verifies and the last of which is the repo's head. A `#sync` begins the chain anew. Returns the events.
///
/// # Panics
/// If something is wrong.
pub async fn assert_stream_is_sound(pool: &PgPool) -> Vec<(i64, Event)> {
    let events = events(pool).await;
    let seqs: Vec<i64> = events.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (1..).take(events.len()).collect::<Vec<_>>(), "numbers without gap");

    let repos = sqlx::query!(
        r#"
            SELECT
                a.did AS "did: TextColumn<Did>", k.public_key AS "public_key: TextColumn<PublicKey>",
                r.head AS "head: CidColumn"
            FROM repo r
            JOIN account a ON a.id = r.account_id
            JOIN signing_key k ON k.account_id = r.account_id
        "#,
    );
    for repo in repos.fetch_all(pool).await.expect("repos") {
        let own = events.iter().map(|(_, event)| event).filter(|event| *event.did() == repo.did.0);
        let head = assert_chain(own, &repo.public_key.0);
        assert_eq!(head, Some(repo.head.0), "the last commit of {} is its head", repo.did.0);
    }
    events
}

/// Returns the last commit.
fn assert_chain<'a>(events: impl Iterator<Item = &'a Event>, key: &PublicKey) -> Option<Cid> {
    let mut before: Option<Commit> = None;
    for event in events {
        let rev = before.as_ref().map(|before| before.rev);
        before = Some(match event {
            Event::Commit(event) => {
                let commit = event.verify(Some(key)).expect("a commit that verifies");
                assert_eq!(event.since, rev, "since names the commit before");
                assert_eq!(event.prev_data, before.map(|before| before.data), "prevData names the tree before");
                commit
            }
            Event::Sync(event) => {
                let commit = event.verify(Some(key)).expect("a commit that verifies");
                assert!(Some(commit.rev) >= rev, "the rev does not fall");
                commit
            }
            Event::Identity(_) | Event::Account(_) => continue,
        });
    }
    before.map(|commit| commit.to_block().0)
}

async fn events(pool: &PgPool) -> Vec<(i64, Event)> {
    let log = Sequencer::new(pool);
    let mut events = Vec::new();
    let mut seq = START;
    loop {
        let page = log.list_after(seq, PageLimit::of(500)).await.expect("a page of the log").events;
        let Some(last) = page.last() else { return events };
        seq = last.seq;
        for stored in page {
            let bytes = frame(stored.kind, &stored.body, stored.seq).expect("a body without number");
            match Frame::decode(&bytes) {
                Ok(Frame::Event { seq, event }) => events.push((seq, event)),
                other => panic!("event {} is none: {other:?}", stored.seq),
            }
        }
    }
}
