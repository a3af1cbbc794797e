//! Two replicas on one database and one store, and the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use common::blob::{BlobChecker, Blobs, Condition, MemoryStore, ObjectId, Objects, Orphans};
use common::clock::Clock;
use common::config::Config;
use common::keys::Keys;
use common::lifecycle::{Lifecycle, Policy, Services};
use common::repo::Repos;
use common::testing::{TestDb, blobs, seed};
use futures_util::TryStreamExt as _;

use super::tally::Tally;

/// How far time leaps: shorter and longer than what bytes are kept for after their row is gone, and than each of the times
/// that blobs are kept for.
pub(super) const LEAPS: [Duration; 5] = [
    Duration::from_mins(4),
    Duration::from_mins(11),
    Duration::from_hours(7),
    Duration::from_hours(25),
    Duration::from_hours(8 * 24),
];

/// Of a thousand requests to the store.
const FAILURES: u32 = 10;

/// A replica's services, on connections of its own.
pub(super) struct Replica {
    pub(super) repos: Repos,
    pub(super) blobs: Blobs,
    pub(super) lifecycle: Lifecycle,
}

pub(super) struct Stage {
    pub(super) db: TestDb,
    pub(super) store: MemoryStore,
    pub(super) config: Config,
    pub(super) replicas: [Arc<Replica>; 2],
    pub(super) tally: Tally,
}

impl Stage {
    pub(super) async fn new(seed: u64) -> Self {
        let (db, config) = (TestDb::create().await, Config::for_tests());
        let store = MemoryStore::new(seed, FAILURES);
        let replicas = [(); 2].map(|()| Arc::new(Replica::new(&db, &config, &store)));
        Self { db, store, config, replicas, tally: Tally::default() }
    }

    /// Waits until nothing is on its way any more that was begun: what the servers rely on to be over in a minute or ten.
    pub(super) async fn settled(&self) {
        self.store.settled().await;
        self.db.until_idle().await;
    }

    /// Forgets what lost references since, as if it had been before anybody noted that.
    pub(super) async fn lose_notes(&self) {
        blobs::forget_dereferences(&self.db.pool()).await;
        self.tally.lost_notes.increment();
    }

    /// Lets time pass.
    pub(super) async fn leap(&self, number: usize) {
        self.store.age(LEAPS[number]);
        seed::age_blobs(&self.db.pool(), LEAPS[number]).await;
    }

    /// Has objects deleted that no row names.
    pub(super) async fn sweep_orphans(&self) {
        self.leap(3).await;
        let orphans = Orphans::new(self.db.pool(), Objects::in_memory(&self.store));
        let before = Clock::system().now() - Duration::from_hours(1);
        let mut pages = orphans.pages();
        while let Some(page) = pages.try_next().await.unwrap() {
            let found = orphans.find(page, before).await.unwrap();
            orphans.give_up(&found).await.unwrap();
        }
    }

    /// What accounts are said to have must be what they have.
    pub(super) async fn assert_counted(&self) {
        assert!(blobs::is_usage_right(&self.db.pool()).await);
    }

    /// What is there must be what is expected: rows, and bytes.
    pub(super) async fn assert_holds_only(&self, expected: Vec<(Did, Cid)>) {
        let name = |(did, cid): (Did, Cid)| (did.to_string(), cid);
        let expected: BTreeSet<_> = expected.into_iter().map(name).collect();
        let objects: BTreeSet<_> = self.store.names().into_iter().map(name).collect();
        assert_eq!(objects, expected, "the bytes that are left");
        let rows = blobs::stored_blobs(&self.db.pool()).await;
        assert!(rows.iter().all(|(_, _, is_used)| *is_used), "{rows:?}");
        let rows: BTreeSet<_> = rows.into_iter().map(|(did, cid, _)| name((did, cid))).collect();
        assert_eq!(rows, expected, "the rows that are left");
        assert_eq!(seed::blob_deletions(&self.db.pool()).await, 0);
        self.assert_counted().await;
        let checker = BlobChecker::new(self.db.pool(), Objects::in_memory(&self.store));
        for blob in checker.list(None, None, u16::MAX).await.unwrap() {
            assert_eq!(checker.check(&blob).await.unwrap(), Some(Condition::Sound), "{blob:?}");
        }
    }
}

impl Replica {
    fn new(db: &TestDb, config: &Config, store: &MemoryStore) -> Self {
        let (pool, clock) = (db.other_pool(), Clock::system());
        let services = Services::from_config(config, clock.clone(), pool.clone()).unwrap();
        Self {
            repos: Repos::new(pool.clone(), Keys::new(pool.clone(), seed::vault()), clock),
            blobs: Blobs::new(pool, Objects::in_memory(store)),
            lifecycle: Lifecycle::new(services, Policy::from_config(config).unwrap()),
        }
    }

    /// The bytes of a blob; `None` if there is none. Asks again while the store fails.
    pub(super) async fn read(&self, id: ObjectId<'_>) -> Option<Vec<u8>> {
        loop {
            match self.blobs.read(id, None).await {
                Ok(None) => return None,
                Ok(Some(object)) => {
                    let pieces: Vec<_> = object.bytes.try_collect().await.unwrap();
                    return Some(pieces.concat());
                }
                Err(_) => {}
            }
        }
    }
}
