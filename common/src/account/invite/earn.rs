//! How many codes a user has earned.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Invite, OPERATOR};
use crate::config::InvitesConfig;

/// Codes that were earned and wait to be used, at most.
const MAX_WAITING: i64 = 5;

/// A code for each interval of membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Earnings {
    interval: TimeDelta,
    /// Intervals that ended before do not count.
    epoch: DateTime<Utc>,
}

impl Earnings {
    /// `None` if users earn nothing.
    pub(super) fn from_config(config: &InvitesConfig) -> Option<Self> {
        let interval = TimeDelta::from_std(config.interval?).ok()?;
        (interval >= TimeDelta::milliseconds(1)).then_some(Self { interval, epoch: config.epoch })
    }

    /// How many codes to make now for an account that has `codes`.
    pub(super) fn due(&self, created_at: DateTime<Utc>, now: DateTime<Utc>, codes: &[Invite]) -> usize {
        let earned = || codes.iter().filter(|invite| invite.created_by != OPERATOR);
        let waiting = earned().filter(|invite| !invite.disabled && !invite.is_used_up()).count();
        let made = earned().filter(|invite| invite.created_at > self.epoch).count();
        let before_epoch = self.intervals(created_at, self.epoch);
        let in_all = self.intervals(created_at, now) - before_epoch - to_i64(made);
        usize::try_from(in_all.min(MAX_WAITING - to_i64(waiting))).unwrap_or(0)
    }

    /// Whole intervals between two moments; none if they are the other way round.
    fn intervals(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
        (to - from).num_milliseconds().max(0) / self.interval.num_milliseconds()
    }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::invite::InviteUse;

    const DAY: TimeDelta = TimeDelta::days(1);

    fn start() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn code(created_by: &str, created_at: DateTime<Utc>, used: bool) -> Invite {
        let used_by = InviteUse { used_by: "did:plc:bob".parse().unwrap(), used_at: created_at };
        Invite {
            code: "code".to_owned(),
            available: 1,
            disabled: false,
            for_account: "did:plc:alice".to_owned(),
            created_by: created_by.to_owned(),
            created_at,
            uses: if used { vec![used_by] } else { Vec::new() },
        }
    }

    #[test]
    fn a_code_is_earned_by_each_interval_up_to_five() {
        let earnings = Earnings { interval: DAY, epoch: DateTime::UNIX_EPOCH };
        let due = |age: TimeDelta, codes: &[Invite]| earnings.due(start(), start() + age, codes);
        let waiting = || code("did:plc:alice", start() + DAY, false);
        let used = || code("did:plc:alice", start() + DAY, true);
        let gift = || code(OPERATOR, start() + DAY, false);
        assert_eq!(due(-DAY, &[]), 0, "clocks differ");
        assert_eq!(due(DAY - TimeDelta::milliseconds(1), &[]), 0);
        assert_eq!(due(DAY, &[]), 1);
        assert_eq!(due(DAY, &[waiting()]), 0);
        assert_eq!(due(DAY, &[gift()]), 1, "what the operator gives does not count");
        assert_eq!(due(DAY * 3, &[used()]), 2);
        assert_eq!(due(DAY * 100, &[]), 5);
        assert_eq!(due(DAY * 100, &[waiting(), waiting(), used(), gift()]), 3);
        let stopped = Invite { disabled: true, ..waiting() };
        assert_eq!(due(DAY * 2, std::slice::from_ref(&stopped)), 1, "a stopped code was earned, but does not wait");
        assert_eq!(due(DAY * 100, &[stopped, waiting(), waiting(), waiting(), waiting(), waiting()]), 0);
    }

    #[test]
    fn intervals_before_the_epoch_do_not_count() {
        let epoch = start() + DAY * 10 + TimeDelta::hours(12);
        let earnings = Earnings { interval: DAY, epoch };
        let due = |created: TimeDelta, age: TimeDelta, codes: &[Invite]| {
            earnings.due(start() + created, start() + age, codes)
        };
        assert_eq!(due(TimeDelta::zero(), DAY * 10, &[]), 0);
        assert_eq!(due(TimeDelta::zero(), DAY * 11, &[]), 1, "the eleventh day ends in the epoch");
        assert_eq!(due(TimeDelta::zero(), DAY * 12, &[]), 2);
        assert_eq!(due(DAY * 11, DAY * 12, &[]), 1, "an account of the epoch counts from its beginning");
        let older = code("did:plc:alice", start() + DAY * 3, true);
        assert_eq!(due(TimeDelta::zero(), DAY * 12, &[older]), 2);
    }

    #[test]
    fn without_an_interval_nothing_is_earned() {
        let config = |interval| InvitesConfig { required: true, interval, epoch: start() };
        assert_eq!(Earnings::from_config(&config(None)), None);
        assert_eq!(Earnings::from_config(&config(Some(std::time::Duration::ZERO))), None);
        assert!(Earnings::from_config(&config(Some(std::time::Duration::from_hours(24)))).is_some());
    }
}
