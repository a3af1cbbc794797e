//! What this process counts of the PLC directory.

use bytes::Bytes;

use super::PlcError;
use crate::telemetry::metrics::{Counter, Exposition, Gauge};

/// What became of a request to the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It did what it was asked.
    Done,
    /// It did not like the request; a DID that it does not know is one such.
    Refused,
    /// It failed.
    Failed,
    /// It was not reached, or did not answer in time.
    Unreachable,
    /// It was not asked.
    Resting,
}

static REQUESTS: [(Outcome, &str, Counter); 5] = [
    (Outcome::Done, "done", Counter::new()),
    (Outcome::Refused, "refused", Counter::new()),
    (Outcome::Failed, "failed", Counter::new()),
    (Outcome::Unreachable, "unreachable", Counter::new()),
    (Outcome::Resting, "resting", Counter::new()),
];
static OPEN: Gauge = Gauge::new();

impl Outcome {
    /// What an answer means.
    pub(super) fn of(result: &Result<Bytes, PlcError>) -> Self {
        match result {
            Ok(_) | Err(PlcError::Document(_) | PlcError::Operation(_)) => Self::Done,
            Err(PlcError::Refused { .. }) => Self::Refused,
            Err(PlcError::Failed { .. }) => Self::Failed,
            Err(PlcError::Unreachable(_)) => Self::Unreachable,
            Err(PlcError::Resting) => Self::Resting,
        }
    }

    /// True if the directory is not well.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Unreachable)
    }
}

/// Counts a request.
pub(super) fn plc_answered(outcome: Outcome) {
    if let Some((.., counter)) = REQUESTS.iter().find(|(known, ..)| *known == outcome) {
        counter.increment();
    }
}

/// Notes whether the directory is left alone.
pub(super) fn plc_open(open: bool) {
    OPEN.set(u64::from(open));
}

/// Writes what was counted.
pub fn expose(text: &mut Exposition) {
    let requests = "pds_plc_requests_total";
    text.counters(requests, "Requests to the PLC directory, by what became of them.");
    for (_, outcome, counter) in &REQUESTS {
        text.sample(requests, &[("outcome", outcome)], counter.get());
    }
    text.gauge("pds_plc_circuit_open", "1 while the PLC directory fails and is left alone.", OPEN.get());
}
