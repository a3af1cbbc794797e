//! What relays were told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::jobs::Policy;

/// So many failures in a row, and a relay is only asked now and then ([`REST`]).
pub const BREAKER_FAILURES: u32 = 6;
/// The pauses after a failure: 1, 2, 4, 8 and 16 minutes, each more or less by a quarter.
pub const PAUSES: Policy =
    Policy { first_pause: Duration::from_mins(1), longest_pause: Duration::from_mins(20), tries: BREAKER_FAILURES };
/// The pauses after that.
const REST: Policy =
    Policy { first_pause: Duration::from_hours(1), longest_pause: Duration::from_hours(1), tries: u32::MAX };

/// A relay that the holder may tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Its number among the claims of this relay: what comes of it is noted only while it is the last.
    pub(super) number: i64,
    /// The newest seq of the log.
    pub seq: i64,
    /// How often in a row the relay did not accept up to now.
    pub failures: u32,
}

impl Claim {
    /// How long to leave the relay alone should it not accept this time.
    pub(super) fn pause(self, chance: f64) -> Duration {
        let failures = self.failures.saturating_add(1);
        PAUSES.pause_after(failures, chance).or_else(|| REST.pause_after(1, chance)).unwrap_or(REST.longest_pause)
    }
}

/// What a relay was told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The relay's origin.
    pub relay: String,
    /// When somebody set out to tell it, the last time that it accepted.
    pub told_at: Option<DateTime<Utc>>,
    /// The newest seq of the log then.
    pub told_seq: Option<i64>,
    /// Before this it is not told again.
    pub next_at: DateTime<Utc>,
    /// How often in a row it did not accept.
    pub failures: i32,
    /// When that was for the last time.
    pub failed_at: Option<DateTime<Utc>>,
    /// What came of the last try, if it did not accept.
    pub last_error: Option<String>,
}

impl Notice {
    /// True while the relay is left alone but for one try an hour.
    pub fn is_resting(&self) -> bool {
        u32::try_from(self.failures).is_ok_and(|failures| failures >= BREAKER_FAILURES)
    }
}

#[cfg(test)]
mod tests {
    use atproto::event::Kind;

    use super::super::Relays;
    use super::*;
    use crate::db::AccountId;
    use crate::jobs::Jobs;
    use crate::testing::{TestDb, lapse_leases, log, relays};

    const RELAY: &str = "https://relay.example";
    const INTERVAL: Duration = Duration::from_mins(20);

    struct Scene {
        db: TestDb,
        relays: Relays,
    }

    impl Scene {
        async fn start() -> Self {
            let db = TestDb::create().await;
            Self { relays: Relays::new(db.pool()), db }
        }

        async fn grow(&self) {
            let event = (Kind::Commit, vec![0xa0]);
            log::append_bodies(&self.db.pool(), AccountId::new(1), &[event]).await;
        }

        async fn is_due(&self) -> bool {
            self.relays.list_due(&[RELAY]).await.unwrap() == [RELAY]
        }

        async fn wait(&self, time: Duration) {
            relays::age_notices(&self.db.pool(), time).await;
        }

        /// Tells the relay if that is due; how often.
        async fn tell(&self) -> usize {
            if !self.is_due().await {
                return 0;
            }
            let claim = self.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
            assert!(self.relays.note_told(RELAY, claim, INTERVAL).await.unwrap());
            1
        }

        async fn notice(&self) -> Notice {
            self.relays.list_notices(&[RELAY]).await.unwrap().remove(0)
        }
    }

    #[tokio::test]
    async fn a_relay_is_told_of_news_and_once_in_an_interval() {
        let scene = Scene::start().await;
        assert!(!scene.is_due().await, "an empty log is nothing to tell");
        scene.grow().await;
        assert!(scene.is_due().await);
        let claim = scene.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
        assert_eq!((claim.seq, claim.failures), (1, 0));
        assert!(!scene.is_due().await && scene.relays.claim(RELAY, INTERVAL).await.unwrap().is_none(), "it is claimed");
        scene.grow().await;
        assert!(scene.relays.note_told(RELAY, claim, INTERVAL).await.unwrap());
        assert!(!scene.is_due().await);
        scene.wait(Duration::from_mins(19)).await;
        assert!(!scene.is_due().await);
        scene.wait(Duration::from_mins(1)).await;
        assert!(scene.is_due().await, "what came while it was being told is news");
        let claim = scene.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
        assert!(scene.relays.note_told(RELAY, claim, INTERVAL).await.unwrap());
        scene.wait(2 * INTERVAL).await;
        assert!(!scene.is_due().await, "it knows all of it");
        assert!(scene.relays.claim(RELAY, INTERVAL).await.unwrap().is_none(), "who comes late finds nothing to do");
    }

    /// Workers that restart in a row, and one that does so while the relay is being told.
    #[tokio::test]
    async fn one_telling_does_for_all_workers_that_started_before_it() {
        let scene = Scene::start().await;
        scene.grow().await;
        let jobs = Jobs::new(scene.db.pool());
        let mut told = 0;
        for name in ["one", "two", "three", "four", "five"] {
            jobs.enter(name).await.unwrap();
            told += scene.tell().await;
        }
        assert_eq!(told, 1, "the interval is for starts, too");
        scene.wait(INTERVAL).await;
        assert_eq!(scene.tell().await, 1, "four have started since");
        scene.wait(INTERVAL).await;
        assert_eq!(scene.tell().await, 0);

        jobs.enter("six").await.unwrap();
        let claim = scene.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
        jobs.enter("seven").await.unwrap();
        assert!(scene.relays.note_told(RELAY, claim, INTERVAL).await.unwrap());
        scene.wait(INTERVAL).await;
        assert_eq!(scene.tell().await, 1, "what the seventh found was not what the relay was told of");
    }

    #[tokio::test]
    async fn who_enters_anew_without_a_lease_has_not_started() {
        let scene = Scene::start().await;
        scene.grow().await;
        let jobs = Jobs::new(scene.db.pool());
        let worker = jobs.enter("one").await.unwrap();
        assert_eq!(scene.tell().await, 1);
        scene.wait(INTERVAL).await;
        lapse_leases(&scene.db.pool()).await;
        assert!(jobs.renew(worker).await.unwrap().is_none());
        let again = jobs.enter_again("one", worker).await.unwrap();
        assert_eq!(scene.tell().await, 0);
        assert!(jobs.renew(again).await.unwrap().is_some() && jobs.renew(worker).await.unwrap().is_none());
        // Of one that was away so long that it was forgotten, nobody knows when it started.
        jobs.leave(again).await.unwrap();
        jobs.enter_again("one", again).await.unwrap();
        assert_eq!(scene.tell().await, 1);
    }

    #[tokio::test]
    async fn what_comes_late_of_an_old_claim_changes_nothing() {
        let scene = Scene::start().await;
        scene.grow().await;
        assert!(scene.is_due().await);
        let old = scene.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
        scene.grow().await;
        // By another worker after the interval, and by command before that.
        scene.wait(INTERVAL).await;
        let newer = scene.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
        let newest = scene.relays.claim_now(RELAY, INTERVAL).await.unwrap();
        let before = scene.notice().await;
        for late in [old, newer] {
            assert_eq!(scene.relays.note_failed(RELAY, late, "no", 0.5).await.unwrap(), None);
            assert!(!scene.relays.note_told(RELAY, late, Duration::ZERO).await.unwrap());
        }
        assert_eq!(scene.notice().await, before);
        assert!(scene.relays.note_told(RELAY, newest, INTERVAL).await.unwrap());
        assert_eq!(scene.relays.note_failed(RELAY, newer, "no", 0.5).await.unwrap(), None);
        let notice = scene.notice().await;
        assert_eq!((notice.told_seq, notice.failures, notice.last_error), (Some(2), 0, None));
    }

    #[tokio::test]
    async fn two_who_claim_at_once_are_not_both_given_it() {
        let scene = Scene::start().await;
        scene.grow().await;
        assert!(scene.is_due().await);
        let other = Relays::new(scene.db.other_pool());
        for _ in 0..20 {
            let (one, two) = tokio::join!(scene.relays.claim(RELAY, INTERVAL), other.claim(RELAY, INTERVAL));
            assert_eq!([one.unwrap(), two.unwrap()].into_iter().flatten().count(), 1);
            scene.wait(INTERVAL).await;
        }
    }

    #[tokio::test]
    async fn failures_back_off_until_the_relay_is_left_alone_and_others_are_not_concerned() {
        let scene = Scene::start().await;
        scene.grow().await;
        let other = "https://other.example";
        assert_eq!(scene.relays.list_due(&[RELAY, other]).await.unwrap().len(), 2);
        let mut pauses = Vec::new();
        for failures in 1..=7 {
            let claim = scene.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
            let pause = scene.relays.note_failed(RELAY, claim, "no", 0.5).await.unwrap().unwrap();
            // Once more, as when nobody knows whether it was noted.
            assert_eq!(scene.relays.note_failed(RELAY, claim, "no", 0.5).await.unwrap(), Some(pause));
            assert_eq!(scene.notice().await.failures, failures);
            assert_eq!(scene.relays.list_due(&[RELAY, other]).await.unwrap(), [other]);
            pauses.push(pause.as_secs() / 60);
            scene.wait(pause).await;
            assert!(scene.is_due().await);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 60, 60]);
        let notice = scene.notice().await;
        assert!(notice.is_resting() && notice.last_error.as_deref() == Some("no") && notice.failed_at.is_some());
        let claim = scene.relays.claim(RELAY, INTERVAL).await.unwrap().unwrap();
        assert!(scene.relays.note_told(RELAY, claim, INTERVAL).await.unwrap());
        let notice = scene.notice().await;
        assert!(!notice.is_resting() && notice.failures == 0 && notice.last_error.is_none());
        assert_eq!(notice.told_seq, Some(1));
    }

    #[test]
    fn pauses_differ() {
        let claim = Claim { number: 1, seq: 1, failures: 0 };
        assert!(claim.pause(0.0) < claim.pause(1.0));
        let resting = Claim { failures: 100, ..claim };
        assert!(resting.pause(0.0) < resting.pause(1.0));
    }
}
