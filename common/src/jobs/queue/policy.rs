//! How often a job is tried, and when again.

use std::time::Duration;

/// How often a job is tried, and the pauses in between: each about twice the one before, up to the longest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The pause after the first failure.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Tries, after which it is a dead letter. A worker that dies while it tries counts.
    pub tries: u32,
}

/// A pause is longer or shorter by up to this part of it, so that jobs that failed together do not come back together.
const JITTER: f64 = 0.25;

impl Policy {
    /// Half a day.
    pub const STANDARD: Self =
        Self { first_pause: Duration::from_secs(10), longest_pause: Duration::from_hours(1), tries: 20 };

    /// Three and a half days: a mail server that is down may be so over a weekend.
    pub const MAIL: Self =
        Self { first_pause: Duration::from_secs(10), longest_pause: Duration::from_hours(1), tries: 92 };

    /// The pause after a failure; `None` if that was the last try. `failures` counts from 1; `chance` is any number from
    /// 0 to 1.
    pub fn pause_after(self, failures: u32, chance: f64) -> Option<Duration> {
        if failures >= self.tries {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(31);
        let pause = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        Some(pause.mul_f64(1.0 + JITTER * (2.0 * chance.clamp(0.0, 1.0) - 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time from the first failure to the last.
    fn patience(policy: Policy) -> Duration {
        (1..).map_while(|failures| policy.pause_after(failures, 0.5)).sum()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = Policy { first_pause: Duration::from_secs(10), longest_pause: Duration::from_mins(1), tries: 6 };
        let seconds: Vec<_> = (1..=6).map(|failures| policy.pause_after(failures, 0.5)).collect();
        assert_eq!(
            seconds,
            [Some(10), Some(20), Some(40), Some(60), Some(60), None].map(|s| s.map(Duration::from_secs))
        );
        let endless = Policy { tries: u32::MAX, ..policy };
        assert_eq!(endless.pause_after(u32::MAX - 1, 0.5), Some(policy.longest_pause));
    }

    #[test]
    fn chance_moves_a_pause_by_a_quarter_at_most() {
        let pause = |chance| Policy::STANDARD.pause_after(1, chance).unwrap().as_secs_f64();
        for (chance, expected) in [(0.0, 7.5), (0.5, 10.0), (1.0, 12.5), (-3.0, 7.5), (7.0, 12.5)] {
            assert!((pause(chance) - expected).abs() < 1e-6, "{chance}");
        }
    }

    #[test]
    fn mail_is_tried_for_days() {
        assert!(patience(Policy::MAIL) > Duration::from_hours(3 * 24));
        assert!(patience(Policy::MAIL) < Duration::from_hours(4 * 24));
        assert!(patience(Policy::STANDARD) > Duration::from_hours(10));
    }
}
