//! What a user may make this server call.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::address::is_public;

/// Which URLs are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rules {
    /// Documents that users publish: https, on a name, without a port, not on hosts where anybody may put anything.
    Documents,
    /// Services that users name: as documents, but with any port and on any host.
    Services,
    /// Anything, also plain http on this machine. For test networks only.
    Open,
}

/// A call that is not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Blocked {
    /// Not https.
    #[error("only https URLs are allowed")]
    Scheme,
    /// The host is an IP address.
    #[error("a host must be a name, not an address")]
    AddressAsHost,
    /// The host is one that nobody may name.
    #[error("the host is not allowed")]
    Host,
    /// A port is given.
    #[error("a port is not allowed")]
    Port,
    /// User name or password in the URL.
    #[error("credentials in a URL are not allowed")]
    Credentials,
    /// The name leads to no public address.
    #[error("the host has no public address")]
    NoPublicAddress,
}

/// Hosts that stand for nobody, or where anybody can publish. Source: the reference server.
const BLOCKED_HOSTS: [&str; 4] = ["example.com", "example.org", "example.net", "googleusercontent.com"];

impl Rules {
    /// Checks everything that can be seen from the URL alone.
    ///
    /// The HTTP client asks no resolver for a host that is an address, so an address must be refused here.
    pub fn check(self, url: &Url) -> Result<(), Blocked> {
        if self == Self::Open {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err(Blocked::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::Credentials);
        }
        let host = match url.host() {
            Some(Host::Domain(host)) => host.trim_end_matches('.'),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(Blocked::AddressAsHost),
            None => return Err(Blocked::Host),
        };
        if self == Self::Documents {
            // The default port is not kept by the parser, so any port seen is another one.
            if url.port().is_some() {
                return Err(Blocked::Port);
            }
            if BLOCKED_HOSTS.iter().any(|blocked| is_within(host, blocked)) {
                return Err(Blocked::Host);
            }
        }
        Ok(())
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The system's resolver without the addresses that are not public.
///
/// The client connects to exactly the addresses it gets here, so a name that changes its mind between check and connect
/// (DNS rebinding) gains nothing.
pub(super) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(public_only(found)?)
        })
    }
}

fn public_only(found: impl Iterator<Item = SocketAddr>) -> Result<Addrs, Blocked> {
    let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
    if public.is_empty() {
        return Err(Blocked::NoPublicAddress);
    }
    Ok(Box::new(public.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: Rules, url: &str) -> Result<(), String> {
        rules.check(&url.parse().unwrap()).map_err(|blocked| format!("{blocked:?}"))
    }

    #[test]
    fn tricks_are_seen_through() {
        let cases = [
            ("http://a.dev/", "Scheme"),
            ("ftp://a.dev/", "Scheme"),
            ("https://user@a.dev/", "Credentials"),
            ("https://:pass@a.dev/", "Credentials"),
            ("https://a.dev@127.0.0.1/", "Credentials"),
            ("https://127.0.0.1/", "AddressAsHost"),
            ("https://8.8.8.8/", "AddressAsHost"),
            ("https://2130706433/", "AddressAsHost"),
            ("https://0x7f.1/", "AddressAsHost"),
            ("https://0177.0.0.1/", "AddressAsHost"),
            ("https://127.1/", "AddressAsHost"),
            ("https://\u{2460}27.0.0.1/", "AddressAsHost"),
            ("https://[::1]/", "AddressAsHost"),
            ("https://[::ffff:127.0.0.1]/", "AddressAsHost"),
            ("https://a.dev:8443/", "Port"),
            ("https://a.dev:80/", "Port"),
            ("https://example.com/", "Host"),
            ("https://EXAMPLE.com./", "Host"),
            ("https://lh3.googleusercontent.com/", "Host"),
        ];
        for (url, expected) in cases {
            assert_eq!(check(Rules::Documents, url).unwrap_err(), expected, "{url}");
        }
    }

    #[test]
    fn ordinary_urls_pass() {
        for url in ["https://a.dev", "https://a.dev:443/client.json?x=1", "https://notexample.com/"] {
            check(Rules::Documents, url).unwrap();
        }
        check(Rules::Services, "https://a.dev:8443/").unwrap();
        check(Rules::Services, "https://example.com/").unwrap();
        check(Rules::Services, "https://10.0.0.1/").unwrap_err();
        check(Rules::Open, "http://127.0.0.1:2583/").unwrap();
    }

    #[test]
    fn only_public_addresses_are_dialled() {
        let addresses = ["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"].map(|address| address.parse().unwrap());
        let kept: Vec<SocketAddr> = public_only(addresses.into_iter()).unwrap().collect();
        assert_eq!(kept, ["1.1.1.1:0".parse().unwrap()]);
        assert!(public_only(addresses[2..].iter().copied()).is_err());
    }
}
