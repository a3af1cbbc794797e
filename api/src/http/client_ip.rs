//! The caller's address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use common::config::Config;
use http::{HeaderMap, request::Parts};

use crate::xrpc::XrpcError;

/// The address of the client behind the proxies we trust.
///
/// `X-Forwarded-For` is read from the right, past trusted addresses: loopback, link-local and private ones, and those in
/// `PDS_RATE_LIMIT_BYPASS_IPS`. What a client writes further left is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientIp(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for ClientIp
where
    Arc<Config>: FromRef<S>,
{
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, XrpcError> {
        let config = Arc::<Config>::from_ref(state);
        let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() else {
            return Err(XrpcError::internal("a request without a peer address"));
        };
        Ok(Self(client_ip(peer.ip(), &parts.headers, &config.rate_limit.bypass_ips)))
    }
}

fn client_ip(peer: IpAddr, headers: &HeaderMap, proxies: &[IpAddr]) -> IpAddr {
    let mut client = peer.to_canonical();
    let values: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !is_trusted(client, proxies) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(ip) => client = ip.to_canonical(),
            Err(_) => break,
        }
    }
    client
}

fn is_trusted(ip: IpAddr, proxies: &[IpAddr]) -> bool {
    let local = match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    };
    local || proxies.contains(&ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_are_read_from_the_right() {
        let proxies = ["203.0.113.9".parse().unwrap()];
        let cases = [
            ("198.51.100.1", "192.0.2.7", "198.51.100.1", "an untrusted peer speaks for itself"),
            ("127.0.0.1", "", "127.0.0.1", "no header"),
            ("10.0.0.2", "192.0.2.7", "192.0.2.7", "one proxy"),
            ("10.0.0.2", "1.1.1.1, 192.0.2.7", "192.0.2.7", "the client's own claim is further left"),
            ("::ffff:10.0.0.2", "192.0.2.7,203.0.113.9, 10.1.1.1", "192.0.2.7", "several proxies"),
            ("fd00::1", "2001:db8::5", "2001:db8::5", "version 6"),
            ("10.0.0.2", "192.0.2.7, unknown", "10.0.0.2", "an unreadable hop ends the walk"),
        ];
        for (peer, header, expected, reason) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", header.parse().unwrap());
            let found = client_ip(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{reason}");
        }
    }
}
