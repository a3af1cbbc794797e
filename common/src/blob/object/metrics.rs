//! How long this process waits for the store, and how often in vain.

use tokio::time::Instant;

use super::StoreError;
use crate::telemetry::metrics::{Counter, Exposition, Histogram, LATENCY};

pub(super) static PUT: Watch = Watch::new("put");
pub(super) static GET: Watch = Watch::new("get");
pub(super) static SIZE: Watch = Watch::new("size");
pub(super) static DELETE: Watch = Watch::new("delete");
pub(super) static COPY: Watch = Watch::new("copy");
/// Blobs that somebody asked for and the store did not have.
pub(in crate::blob) static LOST: Counter = Counter::new();

/// One kind of request.
#[derive(Debug)]
pub(super) struct Watch {
    operation: &'static str,
    duration: Histogram<14>,
    failures: Counter,
}

impl Watch {
    const fn new(operation: &'static str) -> Self {
        Self { operation, duration: Histogram::new(&LATENCY), failures: Counter::new() }
    }

    /// Does this work, and counts how it went.
    pub(super) async fn over<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let started = Instant::now();
        let done = work.await;
        self.duration.observe_duration(started.elapsed());
        if done.is_err() {
            self.failures.increment();
        }
        done
    }
}

/// Writes what was counted of the store.
pub fn expose(text: &mut Exposition) {
    let all = [&PUT, &GET, &SIZE, &DELETE, &COPY];
    let duration = "pds_blob_store_duration_seconds";
    text.histograms(duration, "How long the blob store took to answer, until the first byte of what is read.");
    for watch in all {
        text.histogram(duration, &[("operation", watch.operation)], &watch.duration);
    }
    let failures = "pds_blob_store_failures_total";
    text.counters(failures, "Requests that the blob store failed, or did not answer in time.");
    for watch in all {
        text.sample(failures, &[("operation", watch.operation)], watch.failures.get());
    }
    text.counter("pds_blob_lost_total", "Reads of blobs that the blob store should have and has not.", LOST.get());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fails_is_counted_twice() {
        let watch = Watch::new("test");
        watch.over(async { Ok(()) }).await.unwrap();
        watch.over(async { Err::<(), _>(StoreError::Timeout) }).await.unwrap_err();
        let mut text = Exposition::default();
        text.histogram("duration", &[], &watch.duration);
        assert!(text.finish().contains("duration_count 2\n"));
        assert_eq!(watch.failures.get(), 1);
    }
}
