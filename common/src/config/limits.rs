//! Subscriptions and rate limits.

use std::{net::IpAddr, time::Duration};

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
    /// Exempt addresses, also trusted as proxies; a `/nn` suffix is cut off. `PDS_RATE_LIMIT_BYPASS_IPS`.
    pub bypass_ips: Vec<IpAddr>,
}

impl RateLimitConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            enabled: reader.bool("PDS_RATE_LIMITS_ENABLED").unwrap_or(false),
            bypass_key: reader.secret("PDS_RATE_LIMIT_BYPASS_KEY"),
            bypass_ips: reader.ip_list("PDS_RATE_LIMIT_BYPASS_IPS"),
        }
    }
}
