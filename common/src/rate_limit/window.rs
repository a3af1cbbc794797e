//! What is counted: limits, the windows they are counted in, and what a request takes from them.

use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ipnet::Ipv6Net;
use sha2::{Digest as _, Sha256};

/// Stands in every key, so that a cluster keeps all of them in one slot.
///
/// A request is counted by several subjects at once (its address, its account, …), and either by all of them or by none.
/// A script can do that only with keys of one slot, and no other tag than one for all would put every combination of
/// subjects together. So one node of a cluster does the counting. It can: what a node counts in a second is many times
/// what one Postgres can serve.
const HASH_TAG: &str = "{rate-limit}";

/// Longest subject that a key holds as it is.
const LONGEST_PLAIN: usize = 64;
/// Bytes of a digest that stand for a longer one.
const DIGEST: usize = 16;
/// An address of version 6 counts by its network: a customer has so many, and may use another for each request.
const SUBJECT_PREFIX_V6: u8 = 64;
/// Who is given more than one network is given up to 65,536 of them that begin alike.
const SITE_PREFIX_V6: u8 = 48;

/// So many points for each subject in a window of time. A window begins with the first request that is counted in it, and
/// once it ends all points are there again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Its name, of which there is one.
    pub name: &'static str,
    /// How many points a window has.
    pub points: u32,
    /// How long a window is, to the millisecond.
    pub window: Duration,
}

/// Who a limit counts for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Subject(String);

impl Subject {
    /// An address; one of version 6 stands for its network of 2⁶⁴.
    pub fn address(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(ip.to_string()),
            IpAddr::V6(ip) => Self(network(ip, SUBJECT_PREFIX_V6)),
        }
    }

    /// The site of an address of version 6: all networks that whoever has this one may have, too. One of version 4 has none.
    pub fn site(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(Self(network(ip, SITE_PREFIX_V6))),
        }
    }

    /// The text that stands for it: an address as such, what a stranger wrote as a digest.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that this server gave or checked, as a DID.
    pub fn name(name: impl Display) -> Self {
        let name = name.to_string();
        if name.len() > LONGEST_PLAIN { Self(digest(&name)) } else { Self(name) }
    }

    /// Any text that a stranger wrote. Only its digest is kept: it may be long, or somebody's e-mail address.
    pub fn text(text: &str) -> Self {
        Self(digest(text))
    }

    /// Each pair of two subjects.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(format!("{}-{}", self.0, other.0))
    }
}

fn network(ip: Ipv6Addr, prefix: u8) -> String {
    Ipv6Net::new(ip, prefix).map_or_else(|_| ip.to_string(), |network| network.trunc().to_string())
}

fn digest(text: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(text)[..DIGEST])
}

/// What one request takes from one limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Names the window.
    pub(super) key: String,
    pub(super) points: u64,
    pub(super) length_ms: u64,
    pub(super) cost: u64,
}

impl Charge {
    /// Takes `cost` points of `limit` from what `subject` has.
    pub fn new(limit: &Limit, subject: &Subject, cost: u32) -> Self {
        Self {
            key: format!("{HASH_TAG}:{}:{}", limit.name, subject.0),
            points: limit.points.into(),
            length_ms: u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX),
            cost: cost.into(),
        }
    }
}

/// A window as it is after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Points that were used.
    pub used: u64,
    /// When it ends, in milliseconds since 1970.
    pub ends_ms: u64,
}

impl Window {
    /// Whether so many points are left in it.
    pub(super) fn has_room_for(&self, charge: &Charge) -> bool {
        self.used + charge.cost <= charge.points
    }
}

/// What came of a request's charges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    /// Whether there were points enough. If one limit had too few, none was charged.
    pub(super) admitted: bool,
    /// The time of the decision, by the clock that the windows are measured with, in milliseconds since 1970.
    pub(super) now_ms: u64,
    /// The windows of the charges, in their order.
    pub(super) windows: Vec<Window>,
}

impl Outcome {
    /// The windows, or which of them refuses: of several the one that does so for longest, for only after it can the same
    /// request succeed.
    pub(super) fn verdict(self, charges: &[Charge]) -> Result<Vec<Window>, Refusal> {
        if self.admitted {
            return Ok(self.windows);
        }
        let full = self.windows.iter().zip(charges).enumerate();
        let full = full.filter(|(_, (window, charge))| !window.has_room_for(charge));
        let last = full.max_by_key(|(_, (window, _))| window.ends_ms);
        last.map_or(Ok(Vec::new()), |(charge, (window, _))| {
            Err(Refusal { charge, window: *window, now_ms: self.now_ms })
        })
    }
}

/// A request that had too few points left. Nothing was charged for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Which of its charges was too high, by its place among them.
    pub charge: usize,
    /// The window of that charge.
    pub window: Window,
    /// The time, by the clock that the window is measured with, in milliseconds since 1970.
    pub now_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { name: "global", points: 3, window: Duration::from_mins(1) };

    fn key(subject: &Subject) -> String {
        Charge::new(&LIMIT, subject, 1).key
    }

    fn address(text: &str) -> Subject {
        Subject::address(text.parse().unwrap())
    }

    /// The slot of a key, as a cluster computes it. Source: `redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec`.
    fn slot(key: &str) -> u16 {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
        let crc =
            hashed.bytes().fold(0_u16, |crc, byte| {
                (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                    if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
                })
            });
        crc % 16384
    }

    #[test]
    fn all_keys_are_in_one_slot_of_a_cluster() {
        // The check value of this CRC: the sum is computed right.
        assert_eq!(slot("123456789"), 0x31C3);
        assert_ne!(slot("foo"), slot("bar"));
        let other = Limit { name: "repo-write-hour", ..LIMIT };
        let subjects = [
            address("192.0.2.7"),
            address("2001:db8::1"),
            Subject::name("did:plc:alice"),
            Subject::text("}{"),
            Subject::name("{a}"),
            Subject::name("}"),
        ];
        let keys = subjects.iter().flat_map(|subject| [key(subject), Charge::new(&other, subject, 1).key]);
        for key in keys {
            assert_eq!(slot(&key), slot("rate-limit"), "{key}");
        }
    }

    #[test]
    fn keys_are_short_and_tell_subjects_apart() {
        let long = format!("did:web:{}", "x".repeat(2000));
        let subjects = [
            address("192.0.2.7"),
            address("192.0.2.8"),
            Subject::name("did:plc:alice"),
            Subject::name(&long),
            Subject::name(format!("{long}x")),
            Subject::text("alice@mail.test"),
            Subject::text("").and(&address("192.0.2.7")),
            Subject::text("").and(&address("192.0.2.8")),
            Subject::text("x").and(&address("192.0.2.8")),
        ];
        let keys: std::collections::HashSet<_> = subjects.iter().map(key).collect();
        assert_eq!(keys.len(), subjects.len());
        assert!(keys.iter().all(|key| key.len() < 100 && !key.contains("mail")), "{keys:?}");
    }

    #[test]
    fn addresses_of_version_6_count_by_network() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.7"), address("192.0.2.7"));
        assert_ne!(address("192.0.2.7"), address("192.0.2.8"));
    }

    #[test]
    fn networks_of_version_6_are_of_a_site() {
        let site = |text: &str| Subject::site(text.parse().unwrap());
        assert_eq!(site("2001:db8:1:2::1"), site("2001:db8:1:ffff::2"));
        assert_ne!(site("2001:db8:1:2::1"), site("2001:db8:2:2::1"));
        assert_ne!(site("2001:db8:1::"), Some(address("2001:db8:1::")), "the first network is not the site");
        assert_eq!((site("192.0.2.7"), site("::ffff:192.0.2.7")), (None, None));
    }
}
