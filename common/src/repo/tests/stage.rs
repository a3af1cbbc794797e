//! What the tests start from: a database, replicas of the server on it, repos and writes.

use atproto::data::{Cid, Ipld};
use atproto::syntax::{Nsid, RecordKey};

use crate::clock::Clock;
use crate::db::PgPool;
use crate::keys::Keys;
use crate::repo::{CommitRef, PreparedRecord, PreparedWrite, RecordPath, Repos, SwapRecord, WriteError};
use crate::testing::seed::{self, SeededRepo};
use crate::testing::{TestDb, assert_repo_is_sound, assert_stream_is_sound};

/// A collection without schema.
pub(super) const THING: &str = "com.example.thing";
pub(super) const FOLLOW: &str = "app.bsky.graph.follow";

pub(super) struct Stage {
    pub(super) db: TestDb,
    pub(super) repos: Vec<SeededRepo>,
}

impl Stage {
    /// A database with so many empty repos.
    pub(super) async fn with_repos(count: usize) -> Self {
        let db = TestDb::create().await;
        let mut stage = Self { db, repos: Vec::with_capacity(count) };
        for number in 0..count {
            let repo = stage.seed_repo(number).await;
            stage.repos.push(repo);
        }
        stage
    }

    /// One more empty repo; the number is its own.
    pub(super) async fn seed_repo(&self, number: usize) -> SeededRepo {
        seed::repo(&self.db.pool(), &handle(number)).await
    }

    /// A replica with a pool and caches of its own.
    pub(super) fn replica(&self) -> Repos {
        replica(self.db.other_pool())
    }

    pub(super) fn repo(&self) -> &SeededRepo {
        &self.repos[0]
    }

    /// Checks the log and all repos; gives the number of events.
    pub(super) async fn assert_sound(&self) -> usize {
        for repo in &self.repos {
            assert_repo_is_sound(&self.db.pool(), repo.account).await;
        }
        assert_stream_is_sound(&self.db.pool()).await.len()
    }
}

/// DIDs are made of the letters of a handle.
fn handle(number: usize) -> String {
    let letters: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'b')).collect();
    format!("repo-{letters}.test")
}

pub(super) fn replica(pool: PgPool) -> Repos {
    Repos::new(pool.clone(), Keys::new(pool, seed::vault()), Clock::system())
}

pub(super) async fn write(
    repos: &Repos,
    repo: &SeededRepo,
    writes: &[PreparedWrite],
) -> Result<Option<CommitRef>, WriteError> {
    repos.apply_writes(repo.account, &repo.did, writes, None).await
}

/// Writes one new record.
pub(super) async fn create(repos: &Repos, repo: &SeededRepo, rkey: &str) -> Result<Option<CommitRef>, WriteError> {
    write(repos, repo, &[creation(rkey, "new")]).await
}

pub(super) fn path(collection: &str, rkey: &str) -> RecordPath {
    let collection: Nsid = collection.parse().unwrap();
    let rkey: RecordKey = rkey.parse().unwrap();
    RecordPath { collection, rkey }
}

/// The record of [`THING`] that says `text`.
pub(super) fn thing(rkey: &str, text: &str) -> PreparedRecord {
    let value = Ipld::Map([("text".to_owned(), Ipld::String(text.to_owned()))].into());
    PreparedRecord::new(&path(THING, rkey), value, None).unwrap()
}

/// A follow of `did`.
pub(super) fn follow(rkey: &str, did: &str) -> PreparedRecord {
    let value = Ipld::Map([("subject".to_owned(), Ipld::String(did.to_owned()))].into());
    PreparedRecord::new(&path(FOLLOW, rkey), value, Some(false)).unwrap()
}

pub(super) fn creation(rkey: &str, text: &str) -> PreparedWrite {
    PreparedWrite::Create { path: path(THING, rkey), record: thing(rkey, text), replace_links: false }
}

pub(super) fn update(rkey: &str, text: &str) -> PreparedWrite {
    PreparedWrite::Update { path: path(THING, rkey), record: thing(rkey, text) }
}

pub(super) fn put(rkey: &str, text: &str, swap: SwapRecord) -> PreparedWrite {
    PreparedWrite::Put { path: path(THING, rkey), record: thing(rkey, text), swap }
}

pub(super) fn delete(rkey: &str) -> PreparedWrite {
    PreparedWrite::Delete { path: path(THING, rkey) }
}

pub(super) fn remove(rkey: &str, swap: SwapRecord) -> PreparedWrite {
    PreparedWrite::Remove { path: path(THING, rkey), swap }
}

/// The CID of a record of [`THING`]; `None` if there is none.
pub(super) async fn cid_at(repos: &Repos, repo: &SeededRepo, rkey: &str) -> Option<Cid> {
    let path = path(THING, rkey);
    repos.find_record(repo.account, &path.collection, &path.rkey).await.unwrap().map(|record| record.cid)
}
