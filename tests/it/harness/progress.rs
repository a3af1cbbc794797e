//! Counting what went through, so that a test can act in the middle of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How much has been done so far.
#[derive(Default, Debug)]
pub(crate) struct Progress {
    done: AtomicUsize,
    changed: Notify,
}

impl Progress {
    /// Counts one more.
    pub(crate) fn count(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// How much has been done.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until `count` have been done.
    pub(crate) async fn reaches(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.done() >= count {
                return;
            }
            changed.await;
        }
    }
}
