//! Relays: how often they are told, and what they allow.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::reader::Reader;

/// A worker asks a relay about five accounts a second, and looks again after ten minutes.
const MAX_SAMPLE: u16 = 1_000;

/// How relays are told of events, and looked after. Which there are is in
/// [`UpstreamsConfig::crawlers`](super::UpstreamsConfig::crawlers).
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// A relay is told of new events no more often than this, by all workers together. `PDS_CRAWLER_INTERVAL_MS`, default
    /// 20 min.
    pub notice_interval: Duration,
    /// Accounts that a worker asks each relay about at every check; 0 for none. `PDS_RELAY_SAMPLE`, default 100, at most
    /// 1,000: a check must end before the next one.
    pub sample: u16,
    /// How many accounts relays allow this server. `PDS_RELAY_ACCOUNT_LIMIT`.
    pub account_limits: AccountLimits,
}

impl RelayConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let sample = reader.strict_int("PDS_RELAY_SAMPLE").unwrap_or(100);
        if sample > MAX_SAMPLE {
            reader.problem("PDS_RELAY_SAMPLE", format_args!("must be at most {MAX_SAMPLE}"));
        }
        Self {
            notice_interval: reader.strict_millis("PDS_CRAWLER_INTERVAL_MS").unwrap_or(Duration::from_mins(20)),
            sample,
            account_limits: AccountLimits::read(reader, "PDS_RELAY_ACCOUNT_LIMIT"),
        }
    }
}

/// How many accounts relays allow: `5000` for all of them, `https://relay.example=5000` for one, or several of these
/// between commas. What is said of one relay wins.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AccountLimits {
    of_all: Option<u64>,
    /// By origin.
    of_one: BTreeMap<String, u64>,
}

impl AccountLimits {
    fn read(reader: &mut Reader<'_>, variable: &str) -> Self {
        let mut limits = Self::default();
        for item in reader.list(variable) {
            if limits.add(&item).is_none() {
                reader.problem(variable, "must be a number, or a relay's URL, = and a number; several between commas");
            }
        }
        limits
    }

    fn add(&mut self, item: &str) -> Option<()> {
        let limit = |text: &str| text.parse().ok().filter(|limit| *limit > 0);
        if let Some((url, number)) = item.rsplit_once('=') {
            let origin = Url::parse(url).ok().filter(Url::has_host)?.origin();
            self.of_one.insert(origin.ascii_serialization(), limit(number)?);
        } else {
            self.of_all = Some(limit(item)?);
        }
        Some(())
    }

    /// The limit of the relay with this origin; `None` if it is not known.
    pub fn of(&self, origin: &str) -> Option<u64> {
        self.of_one.get(origin).copied().or(self.of_all)
    }
}
