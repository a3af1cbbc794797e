//! Who is subscribed, for operators: a list of all, and figures about them.
//!
//! A subscriber notes its progress in atomics of its own. What is more work is done when somebody asks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use common::telemetry::metrics::{Counter, Exposition};
use serde::Serialize;

use super::socket::End;

/// Longest user agent that is kept, in bytes.
const MAX_AGENT: usize = 200;
/// A position that is not known yet.
const NOWHERE: i64 = i64::MIN;
/// By how many events subscribers may be behind, in the metrics.
const LAGS: [i64; 5] = [0, 10, 100, 1_000, 10_000];

/// What a client says about itself.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address, behind the proxies we trust.
    pub ip: IpAddr,
    /// Its `user-agent`, if it has one.
    pub agent: Option<String>,
}

/// The subscribers of a replica.
#[derive(Default)]
pub(super) struct Roster {
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
    next: AtomicU64,
    events: Counter,
    bytes: Counter,
    ends: [Counter; End::LABELS.len()],
}

struct Entry {
    client: Client,
    cursor: Option<i64>,
    connected_at: DateTime<Utc>,
    position: AtomicI64,
    events: AtomicU64,
}

/// A subscriber's place in the roster, until it is dropped.
pub(super) struct Listed {
    roster: Arc<Roster>,
    number: u64,
    entry: Arc<Entry>,
}

/// A subscriber as the list shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    ip: IpAddr,
    user_agent: Option<&'a str>,
    connected_at: DateTime<Utc>,
    /// The cursor it came with.
    cursor: Option<i64>,
    /// The last event it has been sent.
    position: Option<i64>,
    /// How many events wait for it.
    lag: Option<i64>,
    events_sent: u64,
}

impl Roster {
    /// Enters a subscriber.
    pub(super) fn enter(self: &Arc<Self>, mut client: Client, cursor: Option<i64>, now: DateTime<Utc>) -> Listed {
        if let Some(agent) = &mut client.agent {
            agent.truncate(agent.floor_char_boundary(MAX_AGENT));
        }
        let number = self.next.fetch_add(1, Relaxed);
        let (position, events) = (AtomicI64::new(NOWHERE), AtomicU64::new(0));
        let entry = Arc::new(Entry { client, cursor, connected_at: now, position, events });
        self.lock().insert(number, Arc::clone(&entry));
        Listed { roster: Arc::clone(self), number, entry }
    }

    /// All subscribers as JSON, the oldest connection first. `newest` is the newest event's seq.
    pub(super) fn to_json(&self, newest: Option<i64>) -> serde_json::Value {
        let entries: Vec<Arc<Entry>> = self.lock().values().cloned().collect();
        entries.iter().map(|entry| serde_json::to_value(entry.show(newest)).unwrap_or_default()).collect()
    }

    /// Writes what is counted here.
    pub(super) fn expose(&self, newest: Option<i64>, text: &mut Exposition) {
        let entries: Vec<Arc<Entry>> = self.lock().values().cloned().collect();
        let lags: Vec<i64> = entries.iter().filter_map(|entry| entry.lag(newest)).collect();
        text.gauge("pds_firehose_subscribers", "Subscribers connected now.", entries.len());
        let by_lag = "pds_firehose_subscribers_by_lag";
        text.gauges(by_lag, "Subscribers connected now that are at most so many events behind.");
        for bound in LAGS {
            let count = lags.iter().filter(|lag| **lag <= bound).count();
            text.sample(by_lag, &[("le", &bound.to_string())], count);
        }
        text.sample(by_lag, &[("le", "+Inf")], lags.len());
        let longest = lags.into_iter().max().unwrap_or(0);
        text.gauge("pds_firehose_lag_events_max", "Events that wait for the subscriber farthest behind.", longest);
        text.counter("pds_firehose_events_sent_total", "Events sent, to all subscribers together.", self.events.get());
        text.counter("pds_firehose_bytes_sent_total", "Bytes of these events.", self.bytes.get());
        let ended = "pds_firehose_subscriptions_ended_total";
        text.counters(ended, "Subscriptions that ended, by reason.");
        for (label, count) in End::LABELS.iter().zip(&self.ends) {
            text.sample(ended, &[("reason", label)], count.get());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn position(&self) -> Option<i64> {
        Some(self.position.load(Relaxed)).filter(|position| *position != NOWHERE)
    }

    fn lag(&self, newest: Option<i64>) -> Option<i64> {
        Some((newest? - self.position()?).max(0))
    }

    fn show(&self, newest: Option<i64>) -> Shown<'_> {
        Shown {
            ip: self.client.ip,
            user_agent: self.client.agent.as_deref(),
            connected_at: self.connected_at,
            cursor: self.cursor,
            position: self.position(),
            lag: self.lag(newest),
            events_sent: self.events.load(Relaxed),
        }
    }
}

impl Listed {
    /// Notes where the subscriber is.
    pub(super) fn at(&self, position: i64) {
        self.entry.position.store(position, Relaxed);
    }

    /// Notes what the subscriber was sent.
    pub(super) fn sent(&self, events: usize, bytes: usize) {
        let events = u64::try_from(events).unwrap_or_default();
        self.entry.events.fetch_add(events, Relaxed);
        self.roster.events.add(events);
        self.roster.bytes.add(u64::try_from(bytes).unwrap_or_default());
    }

    /// Takes the subscriber off the list.
    pub(super) fn leave(self, end: &End) {
        if let Some(count) = self.roster.ends.get(end.place()) {
            count.increment();
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.roster.lock().remove(&self.number);
    }
}
