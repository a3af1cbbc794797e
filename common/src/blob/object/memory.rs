//! A store for tests: in memory, with the manners of one that is far away.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atproto::data::Cid;
use atproto::syntax::Did;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;

use super::list::{Listed, Page};
use super::spool::{Content, ContentBytes};
use super::{Area, OBEYED, Object, ObjectId, StoreError};
use crate::clock::Clock;

/// Up to so many times others come first before a request arrives, and before its answer does.
const DELAY: u32 = 4;
/// One request to delete in so many is stuck.
const STUCK: u32 = 50;
/// For so many leaps of time at most: long enough for the same bytes to be there again.
const STUCK_FOR: u32 = 10;

/// Objects in memory. Cheap to clone; clones are the same store.
///
/// A request that was sent arrives, and is obeyed, whether or not anybody still waits for the answer. Some fail, at random:
/// half of these after they were obeyed. Some that delete are stuck on their way, until time has leapt ([`age`](Self::age)).
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    objects: Mutex<HashMap<(Area, Did, Cid), Held>>,
    manners: Mutex<Manners>,
    under_way: AtomicUsize,
    arrived: Notify,
    time: watch::Sender<Time>,
    late: AtomicU64,
}

/// How far this store is ahead of the clock of the system.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    ahead: Duration,
    leaps: u32,
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
            time: watch::Sender::default(),
            late: AtomicU64::new(0),
        }))
    }

    /// Fails so many of a thousand requests from now on; with none, also none is stuck.
    pub fn set_failures(&self, failures: u32) {
        lock(&self.0.manners).failures = failures;
    }

    /// Waits until no request is on its way any more, but for those that are stuck.
    pub async fn settled(&self) {
        loop {
            let arrived = self.0.arrived.notified();
            if self.0.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            arrived.await;
        }
    }

    /// Makes all objects so much older: time leaps.
    pub fn age(&self, by: Duration) {
        for held in lock(&self.0.objects).values_mut() {
            held.modified -= by;
        }
        self.0.time.send_modify(|time| *time = Time { ahead: time.ahead + by, leaps: time.leaps + 1 });
    }

    /// Whose objects there are and which, in use or not; those in quarantine once more.
    pub fn names(&self) -> Vec<(Did, Cid)> {
        lock(&self.0.objects).keys().map(|(_, did, cid)| (did.clone(), *cid)).collect()
    }

    /// Requests to delete that were refused because they came too late.
    pub fn late(&self) -> u64 {
        self.0.late.load(Ordering::SeqCst)
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

    /// As of a time before the leaps that it is stuck for.
    pub(super) async fn delete(
        &self,
        id: ObjectId<'_>,
        area: Area,
        looked_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let key = (area, id.did.clone(), id.cid);
        let (shared, sent) = (Arc::clone(&self.0), *self.0.time.borrow());
        let stuck = self.draw_stuck();
        let arrive = move |objects: &mut HashMap<(Area, Did, Cid), Held>| {
            let leapt = shared.time.borrow().ahead.saturating_sub(sent.ahead);
            let is_late = Clock::system().now() + leapt > looked_at + OBEYED;
            if is_late {
                shared.late.fetch_add(1, Ordering::SeqCst);
            } else {
                objects.remove(&key);
            }
            is_late
        };
        let is_late =
            if stuck == 0 { self.request(arrive).await? } else { self.delayed(sent.leaps + stuck, arrive).await? };
        if is_late { Err(StoreError::failed("the request comes too late")) } else { Ok(()) }
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

    /// A request that arrives after so many leaps of time. Whoever waits for it to be over does not wait for it.
    async fn delayed<T: Send + 'static>(
        &self,
        leaps: u32,
        act: impl FnOnce(&mut HashMap<(Area, Did, Cid), Held>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (shared, mut time) = (Arc::clone(&self.0), self.0.time.subscribe());
        let answered = tokio::spawn(async move {
            // The sender is with the store, and so with this.
            let _ = time.wait_for(|time| time.leaps >= leaps).await;
            act(&mut lock(&shared.objects))
        });
        answered.await.map_err(StoreError::failed)
    }

    /// For how many leaps of time a request is stuck.
    fn draw_stuck(&self) -> u32 {
        let mut manners = lock(&self.0.manners);
        let is_stuck = manners.failures > 0 && manners.random.random_ratio(1, STUCK);
        if is_stuck { manners.random.random_range(1..=STUCK_FOR) } else { 0 }
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
