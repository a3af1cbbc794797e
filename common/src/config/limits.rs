//! Subscriptions and rate limits.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;

use super::reader::Reader;

/// The event stream.
#[derive(Clone, Debug)]
pub struct SubscriptionConfig {
    /// Events buffered per consumer before it is dropped as too slow. `PDS_MAX_SUBSCRIPTION_BUFFER`, default 500.
    pub max_buffer: usize,
    /// How far back a cursor may reach. `PDS_REPO_BACKFILL_LIMIT_MS`, default 24 h.
    pub backfill_limit: Duration,
}

impl SubscriptionConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            max_buffer: reader.int("PDS_MAX_SUBSCRIPTION_BUFFER").unwrap_or(500),
            backfill_limit: reader.millis("PDS_REPO_BACKFILL_LIMIT_MS").unwrap_or(Duration::from_hours(24)),
        }
    }
}

/// Rate limits.
#[derive(Clone, Debug)]
pub struct RateLimitConfig {
    /// `PDS_RATE_LIMITS_ENABLED`, default false.
    pub enabled: bool,
    /// Callers who send it in `x-ratelimit-bypass` are exempt. `PDS_RATE_LIMIT_BYPASS_KEY` (or `_FILE`).
    pub bypass_key: Option<SecretString>,
    /// Exempt networks, also trusted as proxies; an address without `/nn` is a network of one.
    /// `PDS_RATE_LIMIT_BYPASS_IPS`.
    pub bypass_ips: Vec<IpNet>,
    /// Other points than a limit has by default, by its name; 0 takes the limit away. `PDS_RATE_LIMIT_POINTS`, as in
    /// `global=6000,repo-write-hour=20000`.
    pub points: BTreeMap<String, u32>,
}

impl RateLimitConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            enabled: reader.bool("PDS_RATE_LIMITS_ENABLED").unwrap_or(false),
            bypass_key: reader.secret("PDS_RATE_LIMIT_BYPASS_KEY"),
            bypass_ips: reader.network_list("PDS_RATE_LIMIT_BYPASS_IPS"),
            points: read_points(reader),
        }
    }

    /// Refuses exempt networks of local addresses where clients are whoever connects: a proxy that nobody told of would have
    /// one, and lift the limits for all that come through it, without a sign of it.
    pub(super) fn check_no_proxy_is_exempt(&self, reader: &mut Reader<'_>) {
        let local = LOCAL_NETWORKS.iter().filter_map(|network| network.parse::<IpNet>().ok());
        let local: Vec<IpNet> = local.collect();
        let overlap = |exempt: &IpNet| local.iter().any(|local| local.contains(exempt) || exempt.contains(local));
        if let Some(network) = self.bypass_ips.iter().find(|network| overlap(network)) {
            let problem = format!(
                "has {network}, where a proxy may be, but PDS_TRUSTED_PROXIES=0 says that there is none: then nobody who comes \
                 through one would have limits. Say how many proxies there are; or, if there are none, let your programs \
                 send PDS_RATE_LIMIT_BYPASS_KEY"
            );
            reader.problem("PDS_RATE_LIMIT_BYPASS_IPS", problem);
        }
    }
}

/// Addresses that no client on the internet has: loopback, private and link-local ones, and those between networks.
const LOCAL_NETWORKS: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

fn read_points(reader: &mut Reader<'_>) -> BTreeMap<String, u32> {
    const NAME: &str = "PDS_RATE_LIMIT_POINTS";
    let mut points = BTreeMap::new();
    for item in reader.list(NAME) {
        match item.split_once('=').map(|(limit, number)| (limit.trim().to_owned(), number.trim().parse())) {
            Some((limit, Ok(number))) => _ = points.insert(limit, number),
            _ => reader.problem(NAME, format_args!("has {item:?}, which is not of the form limit=points")),
        }
    }
    points
}
