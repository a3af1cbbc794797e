//! A store for tests: in memory, with the manners of one that is far away.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::list::{Listed, Page};
use super::spool::{Content, ContentBytes};
use super::{Area, Object, ObjectId, StoreError};
use crate::clock::Clock;

/// Up to so many times others come first before a request arrives, and before its answer does.
const DELAY: u32 = 4;

/// Objects in memory. Cheap to clone; clones are the same store.
///
/// A request that was sent arrives, and is obeyed, whether or not anybody still waits for the answer. Some fail, at random:
/// half of these after they were obeyed.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    objects: Mutex<HashMap<(Area, Did, Cid), Held>>,
    manners: Mutex<Manners>,
    under_way: AtomicUsize,
    arrived: Notify,
}

#[derive(Clone, Debug)]
struct Held {
    bytes: Bytes,
    modified: DateTime<Utc>,
}

#[derive(Debug)]
struct Manners {
    random: StdRng,
    /// Of a thousand requests.
    failures: u32,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
    AnswerLost,
}

/// A request on its way.
struct Passage(Arc<Shared>);

impl Drop for Passage {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.arrived.notify_waiters();
    }
}

impl MemoryStore {
    /// An empty store, which fails `failures` of a thousand requests; `seed` decides which.
    pub fn new(seed: u64, failures: u32) -> Self {
        Self(Arc::new(Shared {
            objects: Mutex::default(),
            manners: Mutex::new(Manners { random: StdRng::seed_from_u64(seed), failures }),
            under_way: AtomicUsize::new(0),
            arrived: Notify::new(),
        }))
    }

    /// Fails so many of a thousand requests from now on.
    pub fn set_failures(&self, failures: u32) {
        lock(&self.0.manners).failures = failures;
    }

    /// Waits until no request is on its way any more.
    pub async fn settled(&self) {
        loop {
            let arrived = self.0.arrived.notified();
            if self.0.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            arrived.await;
        }
    }

    /// Makes all objects so much older.
    pub fn age(&self, by: Duration) {
        for held in lock(&self.0.objects).values_mut() {
            held.modified -= by;
        }
    }

    /// Whose objects there are and which, in use or not; those in quarantine once more.
    pub fn names(&self) -> Vec<(Did, Cid)> {
        lock(&self.0.objects).keys().map(|(_, did, cid)| (did.clone(), *cid)).collect()
    }

    pub(super) fn list(&self) -> Page {
        let objects = lock(&self.0.objects);
        let listed = objects.iter().map(|((_, did, cid), held)| Listed {
            did: did.clone(),
            cid: *cid,
            size: held.bytes.len() as u64,
            modified: held.modified,
        });
        Page { objects: listed.collect(), foreign: 0 }
    }

    pub(super) async fn put(&self, id: ObjectId<'_>, content: Content) -> Result<(), StoreError> {
        let bytes = match content.bytes {
            ContentBytes::Memory(bytes) => bytes,
            ContentBytes::File(file) => std::fs::read(file.path())?.into(),
        };
        let key = (Area::InUse, id.did.clone(), id.cid);
        let held = Held { bytes, modified: Clock::system().now() };
        self.request(move |objects| drop(objects.insert(key, held))).await
    }

    pub(super) async fn get(
        &self,
        id: ObjectId<'_>,
        area: Area,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StoreError> {
        let key = (area, id.did.clone(), id.cid);
        let Some(held) = self.request(move |objects| objects.get(&key).cloned()).await? else { return Ok(None) };
        let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(held.bytes.len());
        let bytes = range.map_or(held.bytes.clone(), |range| held.bytes.slice(place(range.start)..place(range.end)));
        Ok(Some(Object { len: bytes.len() as u64, bytes: stream::iter([Ok(bytes)]).boxed() }))
    }

    pub(super) async fn size(&self, id: ObjectId<'_>, area: Area) -> Result<Option<u64>, StoreError> {
        let key = (area, id.did.clone(), id.cid);
        self.request(move |objects| objects.get(&key).map(|held| held.bytes.len() as u64)).await
    }

    pub(super) async fn delete(&self, id: ObjectId<'_>, area: Area) -> Result<(), StoreError> {
        let key = (area, id.did.clone(), id.cid);
        self.request(move |objects| drop(objects.remove(&key))).await
    }

    pub(super) async fn copy(&self, id: ObjectId<'_>, from: Area, to: Area) -> Result<bool, StoreError> {
        let (from, to) = ((from, id.did.clone(), id.cid), (to, id.did.clone(), id.cid));
        let copied = self.request(move |objects| {
            let held = objects.get(&from).cloned()?;
            objects.insert(to, Held { modified: Clock::system().now(), ..held });
            Some(())
        });
        Ok(copied.await?.is_some())
    }

    async fn request<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut HashMap<(Area, Did, Cid), Held>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (fate, [there, back]) = self.draw();
        let shared = Arc::clone(&self.0);
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        let passage = Passage(Arc::clone(&shared));
        let answered = tokio::spawn(async move {
            pass(there).await;
            let answer = (fate != Fate::Refused).then(|| act(&mut lock(&shared.objects)));
            // From here on it changes nothing.
            drop(passage);
            pass(back).await;
            answer.filter(|_| fate == Fate::Answered)
        });
        let answer = answered.await.map_err(StoreError::failed)?;
        answer.ok_or_else(|| StoreError::failed("a failure that the test wanted"))
    }

    fn draw(&self) -> (Fate, [u32; 2]) {
        let mut manners = lock(&self.0.manners);
        let failures = manners.failures;
        let fate = match manners.random.random_range(0..1000) {
            number if number >= failures => Fate::Answered,
            number if number % 2 == 0 => Fate::Refused,
            _ => Fate::AnswerLost,
        };
        (fate, [0; 2].map(|_: u32| manners.random.random_range(0..=DELAY)))
    }
}

async fn pass(times: u32) {
    for _ in 0..times {
        yield_now().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
