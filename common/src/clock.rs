//! The time of day.
//!
//! Everything that needs the current time takes a [`Clock`], so that a test can hold it still.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};

/// Tells the time; cheap to clone, and clones of a manual clock share its hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    /// Microseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] or [`Clock::set`] moves it. For tests.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// The present instant, to the microsecond, as Postgres stores it.
    pub fn now(&self) -> DateTime<Utc> {
        // Only a manual clock set beyond the year 262000 has no date.
        DateTime::from_timestamp_micros(self.micros()).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Microseconds since 1970: the time part of a TID.
    pub fn micros(&self) -> i64 {
        match &self.0 {
            Source::System => system_micros(),
            Source::Manual(hand) => hand.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock ahead; the system clock does not care.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(hand) = &self.0 {
            hand.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Puts a manual clock to `instant`; the system clock does not care.
    pub fn set(&self, instant: DateTime<Utc>) {
        if let Source::Manual(hand) = &self.0 {
            hand.store(instant.timestamp_micros(), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
fn system_micros() -> i64 {
    Utc::now().timestamp_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let same = clock.clone();
        assert_eq!(same.micros(), 0);
        clock.advance(Duration::from_millis(2));
        assert_eq!(same.micros(), 2000);
        assert_eq!(same.now().timestamp_subsec_millis(), 2);
        same.set(DateTime::UNIX_EPOCH);
        assert_eq!(clock.micros(), 0);
    }

    #[test]
    fn system_clock_runs() {
        assert!(Clock::system().now() > DateTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 50));
    }
}
