//! The newest frames of the stream, shared by all subscribers of a replica.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes of frames to keep.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Frames to keep.
const MAX_FRAMES: usize = 16 * 1024;
/// How long to keep a frame. The log forgets what deleted accounts did, so no replica may remember it for long.
const MAX_AGE: Duration = Duration::from_mins(1);

/// An event as it goes over the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) seq: i64,
    pub(super) bytes: Bytes,
}

/// Frames without a gap from some position up to the newest.
pub(super) struct Ring {
    frames: Mutex<Frames>,
    /// Seq of the newest frame; `None` until the tail has found its place in the log.
    newest: watch::Sender<Option<i64>>,
}

#[derive(Default)]
struct Frames {
    /// The stream position before the first frame.
    floor: i64,
    bytes: usize,
    queue: VecDeque<Held>,
}

struct Held {
    since: Instant,
    frame: Frame,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self { frames: Mutex::default(), newest: watch::Sender::new(None) }
    }

    /// Begins at a stream position, with no frames.
    pub(super) fn begin(&self, position: i64) {
        *self.lock() = Frames { floor: position, ..Frames::default() };
        self.newest.send_replace(Some(position));
    }

    /// Adds the frames that follow, up to the stream position `newest`, and lets go of the oldest.
    pub(super) fn extend(&self, newest: i64, new: Vec<Frame>) {
        self.lock().extend(new);
        self.newest.send_if_modified(|known| known.replace(newest) != Some(newest));
    }

    /// Forgets everything, until the tail begins again.
    pub(super) fn abandon(&self) {
        self.newest.send_replace(None);
        *self.lock() = Frames::default();
    }

    /// The seq of the newest frame; `None` while no tail keeps it up to date.
    pub(super) fn newest_seq(&self) -> Option<i64> {
        *self.newest.borrow()
    }

    /// Frames and bytes it holds.
    pub(super) fn size(&self) -> (usize, usize) {
        let frames = self.lock();
        (frames.queue.len(), frames.bytes)
    }

    /// The seq of the newest frame, now and as it rises.
    pub(super) fn newest(&self) -> watch::Receiver<Option<i64>> {
        self.newest.subscribe()
    }

    /// At most `limit` frames after a position; `None` if the ring does not reach back to it.
    pub(super) fn after(&self, position: i64, limit: usize) -> Option<Vec<Frame>> {
        let ring = self.lock();
        if self.newest.borrow().is_none() || position < ring.floor {
            return None;
        }
        let first = ring.queue.partition_point(|held| held.frame.seq <= position);
        Some(ring.queue.range(first..).take(limit).map(|held| held.frame.clone()).collect())
    }

    /// Waits until no subscriber is left.
    #[cfg(test)]
    pub(super) async fn deserted(&self) {
        self.newest.closed().await;
    }

    fn lock(&self) -> MutexGuard<'_, Frames> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.let_go(Instant::now());
        frames
    }
}

impl Frames {
    fn extend(&mut self, new: Vec<Frame>) {
        let since = Instant::now();
        for frame in new {
            self.bytes += frame.bytes.len();
            self.queue.push_back(Held { since, frame });
        }
        self.let_go(since);
    }

    /// Lets go of the oldest, as long as there are too many or they are too old.
    fn let_go(&mut self, now: Instant) {
        while let Some(Held { since, frame }) = self.queue.front() {
            if self.queue.len() <= MAX_FRAMES && self.bytes <= MAX_BYTES && now.duration_since(*since) < MAX_AGE {
                break;
            }
            (self.floor, self.bytes) = (frame.seq, self.bytes - frame.bytes.len());
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(seqs: std::ops::RangeInclusive<i64>) -> Vec<Frame> {
        seqs.map(|seq| Frame { seq, bytes: Bytes::from(vec![0; 10]) }).collect()
    }

    fn seqs(frames: &[Frame]) -> Vec<i64> {
        frames.iter().map(|frame| frame.seq).collect()
    }

    #[test]
    fn gives_what_follows_a_position() {
        let ring = Ring::new();
        assert_eq!(ring.after(0, 10), None, "the tail has no place yet");
        ring.begin(5);
        assert_eq!(ring.after(4, 10), None, "older than the ring");
        assert_eq!(ring.after(5, 10), Some(vec![]));
        ring.extend(9, frames(6..=9));
        assert_eq!(seqs(&ring.after(5, 10).unwrap()), [6, 7, 8, 9]);
        assert_eq!(seqs(&ring.after(7, 1).unwrap()), [8]);
        assert_eq!(ring.after(9, 10), Some(vec![]));
        assert_eq!(*ring.newest().borrow(), Some(9));
    }

    #[test]
    fn lets_go_of_the_oldest() {
        let ring = Ring::new();
        ring.begin(0);
        let newest = i64::try_from(MAX_FRAMES).unwrap() + 10;
        ring.extend(newest, frames(1..=newest));
        assert_eq!(ring.after(9, 1), None);
        assert_eq!(seqs(&ring.after(10, 1).unwrap()), [11]);
    }
    #[test]
    fn remembers_nothing_for_long() {
        let ring = Ring::new();
        ring.begin(0);
        ring.extend(2, frames(1..=2));
        assert_eq!(seqs(&ring.after(0, 10).unwrap()), [1, 2]);
        ring.lock().let_go(Instant::now() + MAX_AGE);
        assert_eq!(ring.after(1, 10), None, "the log knows whether it still is to be told");
        assert_eq!((ring.after(2, 10), ring.size()), (Some(vec![]), (0, 0)));
    }
}
