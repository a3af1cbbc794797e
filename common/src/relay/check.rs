//! What a relay said of this server, and what of it somebody should look at.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use atproto::syntax::Did;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A relay that lacks an event for longer lags. Relays note their place every few seconds to minutes.
pub const LAG_LIMIT: Duration = Duration::from_mins(10);
/// The part of the account limit, in hundredths, from which on it is time to ask for a higher one.
pub const ACCOUNT_LIMIT_SHARE: u64 = 70;
/// How many accounts a survey names at most, of each difference.
pub const MAX_EXAMPLES: u64 = 10;

/// What a relay said at one time, held against what was so here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The relay's origin.
    pub relay: String,
    /// When it was asked.
    pub checked_at: DateTime<Utc>,
    /// Why it did not say how this server is to it; nothing else is known of it then.
    pub failure: Option<String>,
    /// How this server is to it.
    pub host_status: HostStatus,
    /// The last event that it has taken, as far as it has noted that; 0 if none.
    pub cursor: Option<i64>,
    /// The newest event here, read after the relay had answered: a cursor above it is wrong.
    pub newest: i64,
    /// When the first event after the cursor was numbered, if there is one.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Accounts of this server that it counts.
    pub account_count: Option<u64>,
    /// Accounts here, in whatever state.
    pub own_accounts: u64,
    /// How many it allows, as the operator was told.
    pub account_limit: Option<u64>,
    /// What it said of single accounts.
    pub survey: Survey,
}

/// How a server is to a relay.
///
/// Source: `com.atproto.sync.defs#hostStatus`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostStatus {
    /// It reads.
    Active,
    /// It reads, but there has been nothing for long.
    Idle,
    /// It cannot reach the server.
    Offline,
    /// It takes less than the server sends.
    Throttled,
    /// It takes nothing.
    Banned,
    /// It knows no such server.
    NotFound,
    /// It says something that is none of these.
    Other,
    /// It does not say: it could not be asked, or it is no relay that tells.
    Unknown,
}

impl HostStatus {
    /// Each of them.
    pub const ALL: [Self; 8] = [
        Self::Active,
        Self::Idle,
        Self::Offline,
        Self::Throttled,
        Self::Banned,
        Self::NotFound,
        Self::Other,
        Self::Unknown,
    ];

    /// What a relay means by this text.
    pub fn from_wire(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "idle" => Self::Idle,
            "offline" => Self::Offline,
            "throttled" => Self::Throttled,
            "banned" => Self::Banned,
            _ => Self::Other,
        }
    }

    /// Its name, for people and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Offline => "offline",
            Self::Throttled => "throttled",
            Self::Banned => "banned",
            Self::NotFound => "not_found",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// How an account's state differs at a relay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Difference {
    /// It takes nothing from the account, because there are too many, or it sent too much.
    Throttled,
    /// It waits until the account's repo fits its own copy again.
    Desynchronized,
    /// It does not know the account, which is active.
    Missing,
    /// It takes the account, which is active, for closed or deleted.
    Closed,
    /// It shows the account, which is closed.
    Open,
    /// Its moderators closed the account. That is their affair, and no fault.
    Moderated,
}

impl Difference {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::Throttled, Self::Desynchronized, Self::Missing, Self::Closed, Self::Open, Self::Moderated];

    /// Its name, for people and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Desynchronized => "desynchronized",
            Self::Missing => "missing",
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Moderated => "moderated",
        }
    }

    /// What a relay's answer means for an account that is `active` here, or is not. Two that are both closed agree, whatever
    /// each of them calls it.
    pub fn of(active: bool, relay_active: bool, relay_status: Option<&str>) -> Option<Self> {
        match (active, relay_active, relay_status.unwrap_or_default()) {
            (true, true, _) | (false, false, _) => None,
            (false, true, _) => Some(Self::Open),
            (true, false, "throttled" | "host-throttled") => Some(Self::Throttled),
            (true, false, "desynchronized") => Some(Self::Desynchronized),
            (true, false, "takendown" | "suspended") => Some(Self::Moderated),
            (true, false, _) => Some(Self::Closed),
        }
    }
}

/// An account whose state differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// The account.
    pub did: Did,
    /// How.
    pub difference: Difference,
}

/// What a relay said of single accounts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Survey {
    /// Accounts that it was asked about, and said something.
    pub answered: u64,
    /// Accounts that it was asked about in vain. After a few in a row it is asked no more.
    pub unanswered: u64,
    /// What came of the last of those.
    pub failure: Option<String>,
    /// How many differ, by how.
    pub differences: BTreeMap<Difference, u64>,
    /// Some of those that differ.
    pub examples: Vec<Example>,
}

impl Survey {
    /// Counts an answer.
    pub fn add(&mut self, did: &Did, difference: Option<Difference>) {
        self.answered += 1;
        let Some(difference) = difference else { return };
        let count = self.differences.entry(difference).or_default();
        *count += 1;
        if *count <= MAX_EXAMPLES {
            self.examples.push(Example { did: did.clone(), difference });
        }
    }

    /// How many accounts differ so.
    pub fn count(&self, difference: Difference) -> u64 {
        self.differences.get(&difference).copied().unwrap_or(0)
    }

    /// How many accounts differ as they should not.
    fn faults(&self) -> u64 {
        let faults = self.differences.iter().filter(|(difference, _)| **difference != Difference::Moderated);
        faults.map(|(_, count)| count).sum()
    }
}

/// More events than a backup can lack. What a relay says beyond that is wrong, or a trap: numbers that are skipped are gone.
const CREDIBLE: i64 = 1 << 32;

/// What an operator should look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The relay does not answer, or not as a relay does.
    Unanswered,
    /// It does not read this server, or not all of it.
    HostStatus,
    /// Its cursor is above the newest event: it passes over everything up to there.
    CursorAhead,
    /// It has lacked events for some time.
    Lagging,
    /// There are nearly as many accounts as it allows, or more.
    AccountLimit,
    /// It has accounts in other states than they are in.
    Accounts,
}

impl Warning {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::Unanswered, Self::HostStatus, Self::CursorAhead, Self::Lagging, Self::AccountLimit, Self::Accounts];

    /// Its name, as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::HostStatus => "host_status",
            Self::CursorAhead => "cursor_ahead",
            Self::Lagging => "lagging",
            Self::AccountLimit => "account_limit",
            Self::Accounts => "accounts",
        }
    }
}

impl Check {
    /// A check that came to nothing yet.
    pub fn begun(relay: String, checked_at: DateTime<Utc>) -> Self {
        Self {
            relay,
            checked_at,
            failure: None,
            host_status: HostStatus::Unknown,
            cursor: None,
            newest: 0,
            waiting_since: None,
            account_count: None,
            own_accounts: 0,
            account_limit: None,
            survey: Survey::default(),
        }
    }

    /// How many events the relay lacks; 0 if its cursor is ahead.
    pub fn lag_events(&self) -> Option<i64> {
        self.cursor.map(|cursor| (self.newest - cursor).max(0))
    }

    /// By how much its cursor is above the newest event.
    pub fn ahead_events(&self) -> Option<i64> {
        self.cursor.map(|cursor| (cursor - self.newest).max(0))
    }

    /// For how long it has lacked an event.
    pub fn lag(&self) -> Duration {
        let lag = self.waiting_since.and_then(|since| (self.checked_at - since).to_std().ok());
        lag.unwrap_or_default()
    }

    /// How many accounts there are for its limit: as many as it counts, or as there are here. Those that it has not seen yet
    /// it will count.
    pub fn accounts(&self) -> u64 {
        self.account_count.unwrap_or(0).max(self.own_accounts)
    }

    /// The part of its limit that is used, in hundredths.
    pub fn limit_share(&self) -> Option<u64> {
        self.account_limit.map(|limit| self.accounts().saturating_mul(100) / limit.max(1))
    }

    /// What somebody should look at.
    pub fn warnings(&self) -> Vec<Warning> {
        Warning::ALL.into_iter().filter(|warning| self.has(*warning)).collect()
    }

    fn has(&self, warning: Warning) -> bool {
        use HostStatus::{Banned, NotFound, Offline, Other, Throttled};
        match warning {
            Warning::Unanswered => self.failure.is_some() || self.survey.unanswered > 0,
            // There is nothing to know of a server where nothing has happened yet.
            Warning::HostStatus if self.host_status == NotFound => self.newest > 0,
            Warning::HostStatus => matches!(self.host_status, Offline | Throttled | Banned | Other),
            Warning::CursorAhead => self.ahead_events() > Some(0),
            Warning::Lagging => self.lag_events() > Some(0) && self.lag() >= LAG_LIMIT,
            Warning::AccountLimit => self.limit_share() >= Some(ACCOUNT_LIMIT_SHARE),
            Warning::Accounts => self.survey.faults() > 0,
        }
    }

    /// A warning in words.
    pub fn explain(&self, warning: Warning) -> String {
        let (cursor, newest) = (self.cursor.unwrap_or(0), self.newest);
        match warning {
            Warning::Unanswered => self.failure.as_ref().map_or_else(
                || {
                    let reason = self.survey.failure.as_deref().unwrap_or_default();
                    format!("it did not answer about {} accounts: {reason}", self.survey.unanswered)
                },
                |failure| format!("it does not say how this server is to it: {failure}"),
            ),
            Warning::HostStatus if self.host_status == HostStatus::NotFound => {
                "it does not know this server: see pds-worker request-crawl".to_owned()
            }
            Warning::HostStatus => format!("this server is {} to it", self.host_status.name()),
            Warning::CursorAhead if cursor.saturating_sub(newest) > CREDIBLE => format!(
                "it claims to have read up to {cursor}, far beyond the newest event, {newest}: no backup explains that, so do \
                 not follow it, and ask its operators"
            ),
            Warning::CursorAhead => format!(
                "it has read up to {cursor}, but the newest event is {newest}: it passes over all events up to there. \
                 Has the database come back from a backup? See pds-worker sequencer bump --to {cursor}"
            ),
            Warning::Lagging => {
                format!("it lacks {} events, the first of them for {} min", newest - cursor, self.lag().as_secs() / 60)
            }
            Warning::AccountLimit => format!(
                "{} accounts are {} % of the {} that it allows: ask for more in time",
                self.accounts(),
                self.limit_share().unwrap_or(0),
                self.account_limit.unwrap_or(0),
            ),
            Warning::Accounts => format!("of {} accounts it has {}", self.survey.answered, self.survey),
        }
    }
}

impl fmt::Display for Survey {
    /// What differs, as `12 throttled, 1 missing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = self.differences.iter().map(|(difference, count)| format!("{count} {}", difference.name()));
        match differences.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => f.write_str("all as they are"),
            some => f.write_str(&some),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn sound() -> Check {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Check {
            host_status: HostStatus::Active,
            cursor: Some(100),
            newest: 100,
            account_count: Some(7),
            own_accounts: 7,
            ..Check::begun("https://relay.example".to_owned(), now)
        }
    }

    fn warnings(change: impl FnOnce(&mut Check)) -> Vec<Warning> {
        let mut check = sound();
        change(&mut check);
        for warning in check.warnings() {
            assert!(!check.explain(warning).is_empty());
        }
        check.warnings()
    }

    #[test]
    fn what_is_sound_is_no_warning() {
        assert_eq!(warnings(|_| {}), []);
        assert_eq!(warnings(|check| check.host_status = HostStatus::Idle), []);
        assert_eq!(warnings(|check| check.host_status = HostStatus::Unknown), []);
        let empty =
            |check: &mut Check| (check.host_status, check.newest, check.cursor) = (HostStatus::NotFound, 0, None);
        assert_eq!(warnings(empty), []);
    }

    #[test]
    fn a_relay_that_does_not_read_is_one() {
        for status in [HostStatus::Offline, HostStatus::Throttled, HostStatus::Banned, HostStatus::NotFound] {
            assert_eq!(warnings(|check| check.host_status = status), [Warning::HostStatus], "{status:?}");
        }
        assert_eq!(warnings(|check| check.failure = Some("502".to_owned())), [Warning::Unanswered]);
    }

    #[test]
    fn a_cursor_lags_after_some_time_and_must_not_be_ahead() {
        let behind = |minutes| {
            warnings(|check| {
                check.cursor = Some(90);
                check.waiting_since = Some(check.checked_at - TimeDelta::minutes(minutes));
            })
        };
        assert_eq!(behind(9), []);
        assert_eq!(behind(10), [Warning::Lagging]);
        assert_eq!(behind(-1), [], "clocks differ");
        assert_eq!(warnings(|check| check.cursor = Some(101)), [Warning::CursorAhead]);
        let advice = |cursor| Check { cursor: Some(cursor), ..sound() }.explain(Warning::CursorAhead);
        assert!(advice(101).contains("sequencer bump --to 101"));
        assert!(!advice((1 << 53) - 1).contains("bump"), "nobody should follow it");
    }

    #[test]
    fn a_limit_is_near_at_seventy_hundredths_of_the_larger_count() {
        let with = |count, own, limit| {
            warnings(|check| {
                (check.account_count, check.own_accounts, check.account_limit) = (count, own, Some(limit));
            })
        };
        assert_eq!(with(Some(69), 0, 100), []);
        assert_eq!(with(Some(70), 0, 100), [Warning::AccountLimit]);
        assert_eq!(with(Some(10), 70, 100), [Warning::AccountLimit], "it has not seen them all yet");
        assert_eq!(with(None, 70, 100), [Warning::AccountLimit]);
        assert_eq!(with(Some(857), 857, u64::MAX), []);
    }

    #[test]
    fn states_are_compared_as_they_matter() {
        let of = Difference::of;
        assert_eq!(of(true, true, None), None);
        assert_eq!(of(false, false, Some("takendown")), None);
        assert_eq!(of(true, false, Some("throttled")), Some(Difference::Throttled));
        assert_eq!(of(true, false, Some("host-throttled")), Some(Difference::Throttled));
        assert_eq!(of(true, false, Some("desynchronized")), Some(Difference::Desynchronized));
        assert_eq!(of(true, false, Some("takendown")), Some(Difference::Moderated));
        assert_eq!(of(true, false, Some("deactivated")), Some(Difference::Closed));
        assert_eq!(of(true, false, None), Some(Difference::Closed));
        assert_eq!(of(false, true, None), Some(Difference::Open));
    }

    #[test]
    fn a_survey_counts_all_and_names_some() {
        let did: Did = "did:plc:a".parse().unwrap();
        let mut survey = Survey::default();
        survey.add(&did, None);
        survey.add(&did, Some(Difference::Moderated));
        let moderated = |check: &mut Check| check.survey = survey.clone();
        assert_eq!(warnings(moderated), []);
        for _ in 0..40 {
            survey.add(&did, Some(Difference::Throttled));
        }
        assert_eq!((survey.answered, survey.count(Difference::Throttled)), (42, 40));
        assert_eq!(survey.examples.len() as u64, MAX_EXAMPLES + 1);
        assert_eq!(survey.to_string(), "40 throttled, 1 moderated");
        assert_eq!(warnings(|check| check.survey = survey), [Warning::Accounts]);
    }

    #[test]
    fn a_check_is_read_as_it_was_written() {
        let mut check = sound();
        check.survey.add(&"did:plc:a".parse().unwrap(), Some(Difference::Missing));
        let json = serde_json::to_value(&check).unwrap();
        assert_eq!(serde_json::from_value::<Check>(json).unwrap(), check);
    }
}
