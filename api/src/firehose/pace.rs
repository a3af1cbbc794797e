//! Whether a subscriber keeps up.

use std::future::pending;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Settings;

/// Watches how far a subscriber is behind.
///
/// While it works through older events it may take its time: nothing is kept in memory for it. Once it has caught up,
/// not more than `max_waiting` events may wait for it for longer than `grace`.
pub(super) struct Pace {
    newest: watch::Receiver<Option<i64>>,
    settings: Settings,
    has_caught_up: bool,
    /// Since when too many events wait.
    behind_since: Option<Instant>,
}

impl Pace {
    /// Begins at the connection. `newest` is the seq of the newest event.
    pub(super) fn new(newest: watch::Receiver<Option<i64>>, settings: Settings) -> Self {
        Self { newest, settings, has_caught_up: false, behind_since: None }
    }

    /// Notes that the subscriber has taken everything up to `position`.
    pub(super) fn advance(&mut self, position: i64) {
        // Before the end of the log is known, nobody can have come to it.
        let Some(newest) = *self.newest.borrow() else { return };
        if !is_behind(newest, position, self.settings.max_waiting) {
            self.has_caught_up = true;
            self.behind_since = None;
        } else if self.has_caught_up {
            self.behind_since.get_or_insert_with(Instant::now);
        }
    }

    /// Resolves when a subscriber that stays at `position` is too slow.
    pub(super) async fn too_slow(&mut self, position: i64) {
        if !self.has_caught_up {
            return pending().await;
        }
        let max_waiting = self.settings.max_waiting;
        let falls_behind = |newest: &Option<i64>| newest.is_some_and(|newest| is_behind(newest, position, max_waiting));
        if self.newest.wait_for(falls_behind).await.is_err() {
            // No tail, no new events: nobody is slow.
            return pending().await;
        }
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        sleep_until(since + self.settings.grace).await;
    }
}

fn is_behind(newest: i64, position: i64, max_waiting: usize) -> bool {
    usize::try_from(newest - position).is_ok_and(|waiting| waiting > max_waiting)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    const GRACE: Duration = Duration::from_millis(20);

    fn pace() -> (watch::Sender<Option<i64>>, Pace) {
        let (sender, newest) = watch::channel(None);
        let settings = Settings { grace: GRACE, ..Settings::new(Duration::from_hours(1), 10) };
        (sender, Pace::new(newest, settings))
    }

    #[tokio::test]
    async fn who_never_caught_up_may_take_its_time() {
        let (newest, mut pace) = pace();
        newest.send_replace(Some(1000));
        pace.advance(1);
        assert_eq!(pace.behind_since, None);
        assert_eq!(pace.too_slow(1).now_or_never(), None);
    }

    #[tokio::test]
    async fn who_comes_before_the_end_of_the_log_is_known_has_not_caught_up() {
        let (newest, mut pace) = pace();
        pace.advance(1);
        newest.send_replace(Some(1000));
        pace.advance(2);
        assert_eq!(pace.behind_since, None);
        assert_eq!(pace.too_slow(2).now_or_never(), None);
    }

    #[tokio::test]
    async fn who_falls_behind_has_some_time_to_catch_up() {
        let (newest, mut pace) = pace();
        newest.send_replace(Some(100));
        pace.advance(90);
        assert_eq!(pace.too_slow(90).now_or_never(), None, "ten may wait");
        let begin = Instant::now();
        newest.send_replace(Some(101));
        pace.too_slow(90).await;
        assert!(begin.elapsed() >= GRACE);
        assert_eq!(pace.too_slow(90).now_or_never(), Some(()), "no second grace without catching up");
        pace.advance(91);
        assert_eq!(pace.too_slow(91).now_or_never(), None);
    }

    #[tokio::test]
    async fn progress_is_not_enough() {
        let (newest, mut pace) = pace();
        newest.send_replace(Some(100));
        pace.advance(100);
        newest.send_replace(Some(200));
        pace.advance(101);
        let since = pace.behind_since.unwrap();
        pace.too_slow(101).await;
        pace.advance(102);
        assert_eq!(pace.behind_since, Some(since));
        assert_eq!(pace.too_slow(102).now_or_never(), Some(()));
    }
}
