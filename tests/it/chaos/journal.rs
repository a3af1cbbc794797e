//! What the writers did and what became of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::progress::Progress;

/// What a record held, one after the other: the marker of each write, and `None` where it was deleted.
pub(super) type Lives = Vec<Option<String>>;
/// The lives of the records of one repo by their paths.
pub(super) type History = BTreeMap<String, Lives>;

/// Tries of a client that asks once more: a write that takes more of them counts as failed.
const ONE_RETRY: u32 = 2;

/// How long before a fault a write may have begun that is counted with it. One that is under way for longer has met another.
const LATELY: Duration = Duration::from_secs(1);

/// One acknowledged write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// When it was sent first.
    pub(super) begun: Instant,
    /// When it was known to stand.
    pub(super) ended: Instant,
    /// How often it was sent.
    pub(super) tries: u32,
    /// Whether it went to a repo that several writers share.
    pub(super) is_shared: bool,
}

/// All acknowledged writes, as they come in.
#[derive(Default, Debug)]
pub(super) struct Journal {
    progress: Progress,
    samples: Mutex<Vec<Sample>>,
}

/// What a stretch of time looked like to clients.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Figures {
    /// Writes under way in it.
    pub(super) writes: usize,
    /// Those whose first try failed.
    pub(super) retried: usize,
    /// Those whose retry failed as well.
    pub(super) failed: usize,
    /// The longest time without any acknowledgement.
    pub(super) stall: Duration,
    /// The longest time without one for a repo with a single writer.
    pub(super) stall_of_others: Duration,
    /// The longest write.
    pub(super) slowest: Duration,
}

impl Journal {
    /// Notes an acknowledged write.
    pub(super) fn note(&self, sample: Sample) {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        self.progress.count();
    }

    /// Counts the acknowledged writes.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What clients saw between two moments.
    pub(super) fn figures(&self, begin: Instant, end: Instant) -> Figures {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let is_within = |sample: &&Sample| sample.begun + LATELY >= begin && sample.begun < end && sample.ended > begin;
        let within: Vec<&Sample> = samples.iter().filter(is_within).collect();
        Figures {
            writes: within.len(),
            retried: within.iter().filter(|sample| sample.tries > 1).count(),
            failed: within.iter().filter(|sample| sample.tries > ONE_RETRY).count(),
            stall: longest_gap(within.iter().map(|sample| sample.ended), begin),
            stall_of_others: longest_gap(
                within.iter().filter(|sample| !sample.is_shared).map(|sample| sample.ended),
                begin,
            ),
            slowest: within.iter().map(|sample| sample.ended - sample.begun).max().unwrap_or_default(),
        }
    }
}

/// The longest time from one moment to the next.
fn longest_gap(moments: impl Iterator<Item = Instant>, begin: Instant) -> Duration {
    let mut moments: Vec<Instant> = moments.collect();
    moments.push(begin);
    moments.sort_unstable();
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[test]
fn figures_tell_failures_and_stalls() {
    let epoch = Instant::now();
    let at = |millis| epoch + Duration::from_millis(millis);
    let begin = at(5_000);
    let journal = Journal::default();
    let long_ago = (0, 5_300, 9, true);
    let outside = [(4_000, 4_999, 3, false), (5_900, 5_950, 1, true)];
    let within = [(4_990, 5_010, 1, false), (5_005, 5_400, 3, false), (5_020, 5_100, 2, true)];
    for (begun, ended, tries, is_shared) in outside.into_iter().chain(within).chain([long_ago]) {
        journal.note(Sample { begun: at(begun), ended: at(ended), tries, is_shared });
    }
    let figures = journal.figures(begin, at(5_500));
    assert_eq!((figures.writes, figures.retried, figures.failed), (3, 2, 1));
    assert_eq!((figures.stall, figures.stall_of_others), (Duration::from_millis(300), Duration::from_millis(390)));
    assert_eq!(figures.slowest, Duration::from_millis(395));
}
