//! What the committer of this process counts.

use std::time::Duration;

use crate::telemetry::metrics::{Exposition, Histogram, LATENCY};

static SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
static BATCH_SIZE: Histogram<8> = Histogram::new(&SIZES);
static BATCH_DURATION: Histogram<14> = Histogram::new(&LATENCY);

/// Counts a batch of so many chains of commits, which took so long in all.
pub(super) fn batch_done(chains: usize, duration: Duration) {
    BATCH_SIZE.observe_count(chains);
    BATCH_DURATION.observe_duration(duration);
}

/// Writes what was counted.
pub(in crate::repo) fn expose(text: &mut Exposition) {
    let (size, duration) = ("pds_commit_batch_size", "pds_commit_batch_duration_seconds");
    text.histograms(size, "Chains of commits, each of one repo, in one statement.");
    text.histogram(size, &[], &BATCH_SIZE);
    text.histograms(duration, "How long it took to get the verdicts of a batch, retries included.");
    text.histogram(duration, &[], &BATCH_DURATION);
}
