//! Who is not limited.

use std::net::IpAddr;

use common::config::RateLimitConfig;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

const BYPASS: HeaderName = HeaderName::from_static("x-ratelimit-bypass");

/// The operator's own programs: they send a key, or come from a network.
#[derive(Debug)]
pub(super) struct Exemptions {
    key: Option<SecretString>,
    networks: Vec<IpNet>,
}

impl Exemptions {
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        Self { key: config.bypass_key.clone(), networks: config.bypass_ips.clone() }
    }

    /// Whether a request with these headers, from this client, is exempt.
    ///
    /// Reference: of a network, only the first address is.
    pub(super) fn apply(&self, headers: &HeaderMap, client: IpAddr) -> bool {
        let sent = headers.get(&BYPASS);
        let has_key = sent.zip(self.key.as_ref()).is_some_and(|(sent, key)| {
            // How long the key is may be learnt from the time this takes, but nothing else.
            bool::from(sent.as_bytes().ct_eq(key.expose_secret().as_bytes()))
        });
        has_key || self.networks.iter().any(|network| network.contains(&client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exempt(key: Option<&str>, networks: &[&str], sent: Option<&str>, client: &str) -> bool {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        let exemptions = Exemptions { key: key.map(SecretString::from), networks };
        let mut headers = HeaderMap::new();
        if let Some(sent) = sent {
            headers.insert(BYPASS, sent.parse().unwrap());
        }
        exemptions.apply(&headers, client.parse().unwrap())
    }

    #[test]
    fn only_the_key_itself_is_good() {
        let client = "192.0.2.7";
        assert!(exempt(Some("open sesame"), &[], Some("open sesame"), client));
        for sent in [None, Some(""), Some("open"), Some("open sesame!"), Some("Open sesame")] {
            assert!(!exempt(Some("open sesame"), &[], sent, client), "{sent:?}");
        }
        assert!(!exempt(None, &[], Some(""), client) && !exempt(None, &[], None, client));
    }

    #[test]
    fn networks_are_what_they_say() {
        let networks = ["10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32"];
        for (client, expected) in [
            ("10.1.0.0", true),
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("::", false),
        ] {
            assert_eq!(exempt(None, &networks, None, client), expected, "{client}");
        }
    }
}
