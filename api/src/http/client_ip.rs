//! The caller's address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use common::config::Config;
use http::{Extensions, HeaderMap, request::Parts};
use ipnet::IpNet;

use crate::xrpc::XrpcError;

/// The address of the client behind the proxies we trust: the one place that says who that is.
///
/// Each proxy adds who asked it at the end of `X-Forwarded-For`, so the header is read from the right, and what a client
/// writes there itself stands further left than any of it. With `PDS_TRUSTED_PROXIES` so many hops are passed over.
/// Without, all trusted ones are: loopback, link-local and private addresses, and those in `PDS_RATE_LIMIT_BYPASS_IPS`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// The client of a request with these extensions and headers.
    ///
    /// # Errors
    /// 500 if the request did not come over a connection.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, config: &Config) -> Result<Self, XrpcError> {
        let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<SocketAddr>>() else {
            return Err(XrpcError::internal("a request without a peer address"));
        };
        let peer = peer.ip().to_canonical();
        Ok(Self(match config.deployment.trusted_proxies {
            Some(proxies) => behind_some(peer, hops(headers), proxies.into()),
            None => behind_trusted(peer, hops(headers), &config.rate_limit.bypass_ips),
        }))
    }
}

impl<S: Sync> FromRequestParts<S> for ClientIp
where
    Arc<Config>: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        Self::of(&parts.extensions, &parts.headers, &Arc::<Config>::from_ref(state))
    }
}

/// The addresses in `X-Forwarded-For`, the last one first, up to one that cannot be read.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = IpAddr> {
    let values = headers.get_all("x-forwarded-for").iter().rev();
    // Bytes, not text: what a client wrote further left must not hide what a proxy wrote after it.
    let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    hops.map_while(|hop| read_hop(str::from_utf8(hop).ok()?.trim()))
}

/// An address; some proxies add the port.
fn read_hop(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}

/// The address behind so many proxies; the farthest one known, if there are fewer.
fn behind_some(peer: IpAddr, hops: impl Iterator<Item = IpAddr>, proxies: usize) -> IpAddr {
    hops.take(proxies).last().unwrap_or(peer)
}

/// The nearest address that is not trusted.
fn behind_trusted(peer: IpAddr, mut hops: impl Iterator<Item = IpAddr>, networks: &[IpNet]) -> IpAddr {
    let mut client = peer;
    while is_trusted(client, networks) {
        match hops.next() {
            Some(hop) => client = hop,
            None => break,
        }
    }
    client
}

fn is_trusted(ip: IpAddr, networks: &[IpNet]) -> bool {
    let local = match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    };
    local || networks.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, header: &str, change: impl Fn(&mut Config)) -> String {
        let mut config = Config::for_tests();
        change(&mut config);
        let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4000)));
        for line in header.split('\n') {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        ClientIp::of(&extensions, &headers, &config).unwrap().0.to_string()
    }

    #[test]
    fn forwarded_addresses_are_read_from_the_right() {
        for (peer, header, expected, reason) in [
            ("198.51.100.1", "192.0.2.7", "198.51.100.1", "an untrusted peer speaks for itself"),
            ("127.0.0.1", "", "127.0.0.1", "no header"),
            ("10.0.0.2", "192.0.2.7", "192.0.2.7", "one proxy"),
            ("10.0.0.2", "\u{ff}, 192.0.2.7", "192.0.2.7", "no text further left"),
            ("10.0.0.2", "1.1.1.1, 192.0.2.7", "192.0.2.7", "the client's own claim is further left"),
            ("10.0.0.2", "1.1.1.1\n192.0.2.7", "192.0.2.7", "also as a header of its own"),
            ("::ffff:10.0.0.2", "192.0.2.7,203.0.113.9, 10.1.1.1", "192.0.2.7", "several proxies"),
            ("10.0.0.2", "192.0.2.7,203.0.113.200", "203.0.113.200", "not a trusted network"),
            ("fd00::1", "2001:db8::5", "2001:db8::5", "version 6"),
            ("10.0.0.2", "192.0.2.7:5123", "192.0.2.7", "with a port"),
            ("10.0.0.2", "[2001:db8::5]:5123", "2001:db8::5", "version 6 with a port"),
            ("10.0.0.2", "192.0.2.7, unknown", "10.0.0.2", "an unreadable hop ends the walk"),
        ] {
            let networks = |config: &mut Config| config.rate_limit.bypass_ips = vec!["203.0.113.0/28".parse().unwrap()];
            assert_eq!(client(peer, header, networks), expected, "{reason}");
        }
    }

    #[test]
    fn so_many_proxies_are_passed_over_whatever_their_addresses() {
        for (proxies, peer, header, expected, reason) in [
            (0, "10.0.0.2", "192.0.2.7", "10.0.0.2", "nobody is believed"),
            (1, "10.0.0.2", "1.1.1.1, 192.0.2.7", "192.0.2.7", "the client's own claim is further left"),
            (1, "198.51.100.1", "1.1.1.1, 10.0.0.9", "10.0.0.9", "a client with a local address has no say either"),
            (2, "10.0.0.2", "1.1.1.1, 192.0.2.7, 198.51.100.2", "192.0.2.7", "two proxies"),
            (2, "10.0.0.2", "192.0.2.7", "192.0.2.7", "past one of them"),
            (2, "10.0.0.2", "", "10.0.0.2", "past both"),
            (2, "10.0.0.2", "192.0.2.7, unknown", "10.0.0.2", "what cannot be read is not passed over"),
        ] {
            let found = client(peer, header, |config| config.deployment.trusted_proxies = Some(proxies));
            assert_eq!(found, expected, "{reason}");
        }
    }
}
