//! One line of the report.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::measure::{Cost, Tally};

/// What one scenario cost. As JSON it is an entry of the report; times are in milliseconds.
#[derive(Clone, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// The scenario, as `--only` calls it, and what was varied within it.
    pub(crate) name: String,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// How many.
    pub(crate) count: u64,
    /// In how many seconds.
    pub(crate) seconds: f64,
    /// How many a second.
    pub(crate) rate: f64,
    /// The time that half of the operations took at most; for events, from the start of the write to the event.
    pub(crate) p50: Option<f64>,
    /// The time that 99 of 100 operations took at most.
    pub(crate) p99: Option<f64>,
    /// CPU time per operation, summed over the server's processes.
    pub(crate) cpu: Option<f64>,
    /// The same by program.
    pub(crate) cpu_by_program: BTreeMap<String, f64>,
    /// Peak of the memory of all the server's processes, in bytes.
    pub(crate) memory: Option<u64>,
    /// The same by program.
    pub(crate) memory_by_program: BTreeMap<String, u64>,
    /// How much more that peak is than what they held in the beginning.
    pub(crate) memory_growth: Option<u64>,
    /// How many times the CPU time of the cheapest row of its scenario the dearest took; in the last of these rows.
    pub(crate) growth: Option<f64>,
    /// Megabytes (10⁶) a second, where bytes are what matters.
    pub(crate) megabytes_per_second: Option<f64>,
    /// Operations that failed, or whose outcome was wrong.
    pub(crate) failures: u64,
    /// The first failure.
    pub(crate) failure: Option<String>,
}

impl Row {
    /// What `tally` and `cost` say; name and unit are still to be filled in.
    pub(crate) fn new(mut tally: Tally, cost: &Cost) -> Self {
        let count = tally.done.count;
        let seconds = cost.elapsed.as_secs_f64();
        let mut row = Self {
            unit: "op",
            count,
            seconds,
            rate: as_f64(count) / seconds,
            p50: tally.latencies.percentile(50),
            p99: tally.latencies.percentile(99),
            megabytes_per_second: Some(as_f64(tally.done.bytes) / 1e6 / seconds),
            failures: tally.failures,
            failure: tally.failure.map(|error| format!("{error:#}")),
            ..Self::default()
        };
        row.set_cost(cost);
        row
    }

    /// Sets CPU time, per counted operation, and memory.
    fn set_cost(&mut self, cost: &Cost) {
        let Some(usage) = cost.usage.as_ref().filter(|_| self.count > 0) else { return };
        let per_operation = |time: &Duration| time.as_secs_f64() * 1e3 / as_f64(self.count);
        self.cpu_by_program = usage.cpu.iter().map(|(name, time)| (name.clone(), per_operation(time))).collect();
        self.cpu = Some(self.cpu_by_program.values().sum());
        self.memory_by_program.clone_from(&usage.memory);
        self.memory = Some(usage.memory.values().sum());
        self.memory_growth = Some(cost.memory_growth);
    }

    /// Names the row.
    #[must_use]
    pub(crate) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Says what is counted.
    #[must_use]
    pub(crate) fn counting(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Leaves out the throughput in bytes, where it says nothing.
    #[must_use]
    pub(crate) fn without_bytes(mut self) -> Self {
        self.megabytes_per_second = None;
        self
    }
}

/// A count as a number to calculate with; exact up to 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}
