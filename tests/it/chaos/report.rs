//! What a run measured.

use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::journal::Figures;
use super::stage::REPLICAS;

/// What one fault did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blow {
    /// The fault.
    pub(super) fault: Fault,
    /// From its begin until nothing stood in the way any more.
    pub(super) time: Duration,
    /// From then until each replica had written something again.
    pub(super) recovery: [Duration; REPLICAS],
    /// What clients saw from its begin until all replicas had recovered.
    pub(super) figures: Figures,
    /// The memory of each replica afterwards, in bytes.
    pub(super) memory: [u64; REPLICAS],
}

impl Blow {
    /// The longest recovery.
    pub(super) fn slowest_recovery(&self) -> Duration {
        self.recovery.into_iter().max().unwrap_or_default()
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { writes, retried, failed, stall, stall_of_others, slowest } = self.figures;
        let recovery = self.recovery.map(|time| time.as_millis());
        let memory = self.memory.map(|bytes| bytes >> 20);
        write!(
            f,
            "{:<32} {:>6} ms | recovery {recovery:>5?} ms | {writes:>4} writes, {retried:>3} retried, {failed:>3} failed | \
             stall {:>5} ms, of others {:>5} ms, slowest {:>5} ms | {memory:>3?} MiB",
            self.fault.to_string(),
            self.time.as_millis(),
            stall.as_millis(),
            stall_of_others.as_millis(),
            slowest.as_millis(),
        )
    }
}

/// Share of the writes that failed with one retry while single replicas were in trouble.
pub(super) fn failed_share(blows: &[Blow]) -> f64 {
    let figures = blows.iter().filter(|blow| blow.fault.is_of_a_replica()).map(|blow| blow.figures);
    let (writes, failed) = figures.fold((0_u32, 0_u32), |(writes, failed), figures| {
        (writes + count(figures.writes), failed + count(figures.failed))
    });
    f64::from(failed) / f64::from(writes.max(1))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
