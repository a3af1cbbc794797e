//! A circuit breaker: stops asking a service that fails, and tries it again now and then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When to stop asking, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// So many failures in a row open it.
    pub failures: u32,
    /// How long nobody asks then. After that one request at a time does, and its success closes it again.
    pub rest: Duration,
}

/// Stands before one service, in one process.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Everybody may ask. So many requests in a row have failed.
    Closed { failures: u32 },
    /// Nobody may ask before then.
    Open { until: Instant },
    /// One request is out to see how the service is.
    Probing,
}

/// A request that may be made. Without a verdict, as when the caller goes away, it counts as not made.
#[derive(Debug)]
#[must_use = "the breaker waits for the verdict"]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    /// Whether the others wait for what becomes of this one.
    is_probe: bool,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Asks to make a request; `None` while the service is left alone.
    pub fn admit(&self) -> Option<Pass<'_>> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Some(Pass { breaker: self, is_probe: false }),
            State::Open { until } if now >= until => {
                *state = State::Probing;
                Some(Pass { breaker: self, is_probe: true })
            }
            State::Open { .. } | State::Probing => None,
        }
    }

    /// True while requests are not made.
    pub fn is_open(&self) -> bool {
        !matches!(*self.state(), State::Closed { .. })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The service answered.
    pub fn succeed(mut self) {
        let mut state = self.breaker.state();
        // A request from before the service failed says nothing of how it is now.
        if self.is_probe || matches!(*state, State::Closed { .. }) {
            *state = State::Closed { failures: 0 };
        }
        self.is_probe = false;
    }

    /// The service failed, or did not answer.
    pub fn fail(self) {
        self.fail_at(Instant::now());
    }

    fn fail_at(mut self, now: Instant) {
        let BreakerSettings { failures: enough, rest } = self.breaker.settings;
        let mut state = self.breaker.state();
        let failures = match *state {
            State::Closed { failures } => failures + 1,
            State::Probing if self.is_probe => enough,
            State::Open { .. } | State::Probing => return,
        };
        *state = if failures < enough { State::Closed { failures } } else { State::Open { until: now + rest } };
        self.is_probe = false;
    }
}

impl Drop for Pass<'_> {
    /// A probe that was given up lets the next request be one.
    fn drop(&mut self) {
        if self.is_probe {
            *self.breaker.state() = State::Open { until: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings { failures: 3, rest: REST })
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let breaker = breaker();
        for verdict in [false, false, true, false, false] {
            let pass = breaker.admit().unwrap();
            if verdict {
                pass.succeed();
            } else {
                pass.fail();
            }
        }
        drop(breaker.admit().unwrap());
        assert!(!breaker.is_open(), "a success in between, and a request that nobody waited for");
        breaker.admit().unwrap().fail();
        assert!(breaker.is_open() && breaker.admit().is_none());
    }

    #[test]
    fn one_request_at_a_time_tries_it_again() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..3 {
            breaker.admit_at(now).unwrap().fail_at(now);
        }
        assert!(breaker.admit_at(now + REST.saturating_sub(Duration::from_millis(1))).is_none());
        let probe = breaker.admit_at(now + REST).unwrap();
        assert!(breaker.admit_at(now + REST).is_none(), "one is enough");
        probe.fail_at(now + REST);
        assert!(breaker.admit_at(now + REST).is_none());

        let later = now + 2 * REST;
        drop(breaker.admit_at(later).unwrap());
        let probe = breaker.admit_at(later).unwrap();
        assert!(breaker.is_open());
        probe.succeed();
        assert!(!breaker.is_open());
        for _ in 0..2 {
            breaker.admit_at(later).unwrap().fail_at(later);
        }
        assert!(!breaker.is_open(), "it counts from the beginning");
    }

    #[test]
    fn late_verdicts_change_nothing() {
        let (breaker, now) = (breaker(), Instant::now());
        let late = [(); 3].map(|()| breaker.admit_at(now).unwrap());
        for _ in 0..3 {
            breaker.admit_at(now).unwrap().fail_at(now);
        }
        let [good, bad, other] = late;
        good.succeed();
        bad.fail_at(now + REST);
        drop(other);
        assert!(breaker.is_open() && breaker.admit_at(now).is_none());
        breaker.admit_at(now + REST).unwrap().succeed();
        assert!(!breaker.is_open());
    }
}
