//! One at a time for each key, and one result for all who wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Work that many may want done for one key at once, and that need not be done for each of them.
#[derive(Debug)]
pub(super) struct Turns<K: Hash + Eq, T> {
    /// Counts beginnings, ends and callers, so that each knows what was before it.
    ticks: AtomicU64,
    /// Of keys that somebody waits for.
    queues: Mutex<HashMap<K, Arc<Queue<T>>>>,
}

/// Held by whoever works; has what came of the last turn.
type Queue<T> = tokio::sync::Mutex<Option<Turn<T>>>;

#[derive(Debug)]
struct Turn<T> {
    began: u64,
    ended: u64,
    result: T,
}

impl<K: Hash + Eq, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { ticks: AtomicU64::default(), queues: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Turns<K, T> {
    /// The result of `work`, or of somebody else's that was going on when this was called, or began since.
    pub(super) async fn share(&self, key: &K, work: impl Future<Output = T>) -> T {
        self.take(key, |turn| turn.ended, work).await
    }

    /// The result of `work`, or of somebody else's that began after this was called.
    pub(super) async fn renew(&self, key: &K, work: impl Future<Output = T>) -> T {
        self.take(key, |turn| turn.began, work).await
    }

    /// Takes a result of which `time` is after the call.
    async fn take(&self, key: &K, time: impl Fn(&Turn<T>) -> u64, work: impl Future<Output = T>) -> T {
        let called = self.tick();
        // Dropped after the queue, wherever this ends.
        let _place = Place { turns: self, key };
        let queue = Arc::clone(self.queues().entry(key.clone()).or_default());
        let mut last = queue.lock().await;
        if let Some(turn) = last.as_ref().filter(|turn| time(turn) > called) {
            return turn.result.clone();
        }
        let began = self.tick();
        let result = work.await;
        *last = Some(Turn { began, ended: self.tick(), result: result.clone() });
        result
    }
}

impl<K: Hash + Eq, T> Turns<K, T> {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<K, Arc<Queue<T>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue, which goes with the last who has one.
struct Place<'a, K: Hash + Eq, T> {
    turns: &'a Turns<K, T>,
    key: &'a K,
}

impl<K: Hash + Eq, T> Drop for Place<'_, K, T> {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        // Only the map has it, and nobody joins while the map is locked.
        if queues.get(self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use futures_util::{FutureExt as _, future::join_all, poll};
    use tokio::sync::Notify;

    use super::*;

    /// Counts how often it was done; each waits for a permission.
    #[derive(Default)]
    struct Work {
        done: Cell<u32>,
        go: Notify,
    }

    impl Work {
        async fn run(&self) -> u32 {
            self.go.notified().await;
            self.done.set(self.done.get() + 1);
            self.done.get()
        }
    }

    #[tokio::test]
    async fn those_who_share_take_what_is_under_way() {
        let (turns, work) = (Turns::default(), Work::default());
        let mut first = pin!(turns.share(&1, work.run()));
        assert!(poll!(&mut first).is_pending());
        let others = join_all((0..5).map(|_| turns.share(&1, work.run())));
        let mut others = pin!(others);
        assert!(poll!(&mut others).is_pending());
        work.go.notify_one();
        assert_eq!((first.await, others.await), (1, vec![1; 5]));
        assert!(turns.queues().is_empty());
        work.go.notify_one();
        assert_eq!(turns.share(&1, work.run()).await, 2, "what is over is not shared");
    }

    #[tokio::test]
    async fn those_who_renew_share_the_next_one() {
        let (turns, work) = (Turns::default(), Work::default());
        let mut first = pin!(turns.renew(&1, work.run()));
        assert!(poll!(&mut first).is_pending());
        let mut others = pin!(join_all((0..5).map(|_| turns.renew(&1, work.run()))));
        assert!(poll!(&mut others).is_pending());
        work.go.notify_one();
        assert_eq!(first.await, 1);
        assert!(poll!(&mut others).is_pending(), "what began before they came is not for them");
        work.go.notify_one();
        assert_eq!(others.await, [2; 5]);
        assert!(turns.queues().is_empty());
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other_and_who_leaves_leaves_the_turn() {
        let (turns, work) = (Turns::default(), Work::default());
        {
            let mut left = pin!(turns.share(&1, work.run()));
            assert!(poll!(&mut left).is_pending());
            let mut next = pin!(turns.share(&1, async { 7 }));
            assert!(poll!(&mut next).is_pending());
            assert_eq!(turns.share(&2, async { 9 }).now_or_never(), Some(9));
        }
        assert!(turns.queues().is_empty());
        assert_eq!(turns.share(&1, async { 8 }).now_or_never(), Some(8));
    }
}
