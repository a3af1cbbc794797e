//! Requests, errors and durations, by method.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::telemetry::metrics::{Counter, Exposition, Histogram};
use http::StatusCode;

/// What is counted of one method.
#[derive(Debug, Default)]
pub(super) struct MethodCounts {
    requests: Counter,
    client_errors: Counter,
    server_errors: Counter,
    duration: Histogram<14>,
}

impl MethodCounts {
    /// Counts a request that was answered so, after so long. A body that streams takes its time after that.
    pub(super) fn answered(&self, status: StatusCode, duration: Duration) {
        self.requests.increment();
        self.duration.observe_duration(duration);
        if status.is_client_error() {
            self.client_errors.increment();
        } else if status.is_server_error() {
            self.server_errors.increment();
        }
    }
}

/// What is counted of each method that is answered here; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct MethodMetrics(Arc<Mutex<ByMethod>>);

type ByMethod = Vec<(&'static str, Arc<MethodCounts>)>;

impl MethodMetrics {
    /// The counts of a method, new ones for a new method.
    pub(super) fn of(&self, nsid: &'static str) -> Arc<MethodCounts> {
        let mut methods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counts)) = methods.iter().find(|(known, _)| *known == nsid) {
            return Arc::clone(counts);
        }
        let counts = Arc::default();
        methods.push((nsid, Arc::clone(&counts)));
        counts
    }

    /// Writes what was counted of the methods that were called.
    pub(crate) fn expose(&self, text: &mut Exposition) {
        let methods = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let called: Vec<_> = methods.iter().filter(|(_, counts)| counts.requests.get() > 0).collect();
        let requests = "pds_xrpc_requests_total";
        text.counters(requests, "Requests answered, by method.");
        for (nsid, counts) in &called {
            text.sample(requests, &[("method", nsid)], counts.requests.get());
        }
        let errors = "pds_xrpc_errors_total";
        text.counters(errors, "Of these, errors: of the client (4xx) or the server (5xx).");
        for (nsid, counts) in &called {
            text.sample(errors, &[("method", nsid), ("class", "client")], counts.client_errors.get());
            text.sample(errors, &[("method", nsid), ("class", "server")], counts.server_errors.get());
        }
        let duration = "pds_xrpc_duration_seconds";
        text.histograms(duration, "Time from a request's head to the head of its answer, by method.");
        for (nsid, counts) in &called {
            text.histogram(duration, &[("method", nsid)], &counts.duration);
        }
    }
}
