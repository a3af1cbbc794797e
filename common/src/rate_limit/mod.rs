//! Limits on how often something may be asked for, shared by all replicas.
//!
//! A [`Limit`] gives each [`Subject`] (an address, an account, …) so many points in a window of time. A request takes points
//! from all limits it falls under at once, or from none if one of them has too few left: [`RateLimits::charge`].
//!
//! Windows are kept in Redis, where one call of a script does the whole of it, in one round trip. Nothing is read first and
//! written after, so any number of replicas together let exactly as many requests through as a limit says. Without
//! Redis, and while it is away, each process counts for itself by the same rules.
//!
//! Windows with a fixed end, and not a bucket that fills drop by drop, because the reference tells clients when all points
//! will be there again.

mod connection;
mod memory;
mod script;
mod shared;
mod spent;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

pub use window::{Charge, Limit, Refusal, Subject, Window};

use crate::clock::Clock;
use crate::config::RedisConfig;
use crate::telemetry::metrics::Exposition;
use memory::Memory;
use shared::SharedWindows;

/// Counts requests; cheap to clone.
#[derive(Clone)]
pub struct RateLimits(Arc<Inner>);

struct Inner {
    clock: Clock,
    memory: Memory,
    shared: Option<SharedWindows>,
}

impl RateLimits {
    /// Counts in Redis if there is one, else in this process. Begins to connect, on the current tokio runtime.
    pub fn start(redis: Option<&RedisConfig>, clock: Clock) -> Self {
        let shared = redis.cloned().map(SharedWindows::start);
        Self(Arc::new(Inner { clock, memory: Memory::new(), shared }))
    }

    /// Waits until it is known whether Redis answers.
    pub async fn settled(&self) {
        if let Some(shared) = &self.0.shared {
            shared.tried().await;
        }
    }

    /// Charges a request to limits of different names: always decided, by Redis or without it. Gives their windows, in the
    /// order of the charges.
    ///
    /// # Errors
    /// If one of them has too few points left; then none was charged.
    pub async fn charge(&self, charges: &[Charge]) -> Result<Vec<Window>, Refusal> {
        if charges.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(shared) = &self.0.shared
            && let Some(verdict) = shared.charge(charges).await
        {
            return verdict;
        }
        self.0.memory.charge(self.now_ms(), charges).verdict(charges)
    }

    /// Looks whether charges will be refused, without charging or asking anybody: for who cannot charge yet, but would do
    /// work until then.
    ///
    /// # Errors
    /// If it is known of one of them.
    pub fn foresee(&self, charges: &[Charge]) -> Result<(), Refusal> {
        if let Some(shared) = &self.0.shared
            && let Some(verdict) = shared.foresee(charges)
        {
            return verdict;
        }
        self.0.memory.foresee(self.now_ms(), charges).verdict(charges).map(drop)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.clock.micros() / 1000).unwrap_or(0)
    }

    /// Writes whether and how fast Redis answers, and how much this process remembers.
    pub fn expose(&self, text: &mut Exposition) {
        if let Some(shared) = &self.0.shared {
            shared.expose(text);
        }
        text.gauge("pds_rate_limit_memory_windows", "Windows that this process remembers.", self.0.memory.len());
    }
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimits").field("windows", &self.0.memory.len()).finish_non_exhaustive()
    }
}
