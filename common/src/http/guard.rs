//! What a user may make this server call.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use hickory_resolver::{ResolverBuilder, TokioResolver};
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

/// The addresses of a name, or why there are none.
type Found = Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>>;
/// Looks a name up.
type Lookup = dyn Fn(String) -> BoxFuture<'static, Found> + Send + Sync;

/// The DNS without the addresses that are not public.
///
/// The client connects to exactly the addresses it gets here, so a name that changes its mind between check and connect
/// (DNS rebinding) gains nothing.
#[derive(Clone)]
pub(super) struct PublicResolver {
    lookup: Arc<Lookup>,
    is_allowed: fn(IpAddr) -> bool,
}

impl PublicResolver {
    /// Asks the name servers of this machine, without a thread for each name: whoever names hosts may run name servers that
    /// never answer.
    pub(super) fn system() -> Self {
        let dns = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
        match dns {
            Ok(dns) => Self::new(move |name| ask(dns.clone(), name).boxed(), is_public),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the system looks up the hosts of users");
                Self::new(|name| ask_system(name).boxed(), is_public)
            }
        }
    }

    /// Looks names up with `lookup`, and lets through what `is_allowed` says.
    pub(super) fn new(
        lookup: impl Fn(String) -> BoxFuture<'static, Found> + Send + Sync + 'static,
        is_allowed: fn(IpAddr) -> bool,
    ) -> Self {
        Self { lookup: Arc::new(lookup), is_allowed }
    }
}

impl fmt::Debug for PublicResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicResolver").finish_non_exhaustive()
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = (this.lookup)(name.as_str().to_owned()).await?;
            let allowed: Vec<_> = found.into_iter().filter(|ip| (this.is_allowed)(*ip)).collect();
            if allowed.is_empty() {
                return Err(Blocked::NoPublicAddress.into());
            }
            // The client puts the URL's port in the place of this one.
            Ok(Box::new(allowed.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

async fn ask(dns: TokioResolver, name: String) -> Found {
    // The final dot keeps the search domains of this machine out of it.
    let found = dns.lookup_ip(format!("{}.", name.trim_end_matches('.'))).await?;
    Ok(found.iter().collect())
}

async fn ask_system(name: String) -> Found {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
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
            ("https://127.0.0.1./", "AddressAsHost"),
            ("https://0/", "AddressAsHost"),
            ("https://017700000001/", "AddressAsHost"),
            ("https://0x7f000001/", "AddressAsHost"),
            ("https://0x7F.0x0.0x0.0x1/", "AddressAsHost"),
            ("https://%31%32%37.0.0.1/", "AddressAsHost"),
            ("https://\u{2460}27.0.0.1/", "AddressAsHost"),
            ("https://[::1]/", "AddressAsHost"),
            ("https://[::ffff:127.0.0.1]/", "AddressAsHost"),
            ("https://[::ffff:7f00:1]/", "AddressAsHost"),
            ("https://[64:ff9b::127.0.0.1]/", "AddressAsHost"),
            ("https://[2002:7f00:1::]/", "AddressAsHost"),
            ("https:///127.0.0.1/", "AddressAsHost"),
            ("https:\\\\127.0.0.1\\", "AddressAsHost"),
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

    /// What the client may dial when a name has these addresses.
    async fn dialled(addresses: &'static [&str]) -> Result<Vec<String>, String> {
        let found = async || Ok(addresses.iter().map(|ip| ip.parse().unwrap()).collect());
        let resolver = PublicResolver::new(move |_| found().boxed(), is_public);
        let allowed = resolver.resolve("a.dev".parse().unwrap()).await.map_err(|error| error.to_string())?;
        Ok(allowed.map(|address| address.ip().to_string()).collect())
    }

    #[tokio::test]
    async fn only_public_addresses_are_dialled() {
        let mixed = &["10.0.0.1", "1.1.1.1", "::1", "169.254.169.254", "2606:4700::1"];
        assert_eq!(dialled(mixed).await.unwrap(), ["1.1.1.1", "2606:4700::1"]);
        for private in [
            &["127.0.0.1"][..],
            &["::1", "fe80::1"],
            &["::ffff:127.0.0.1"],
            &["64:ff9b::a9fe:a9fe"],
            &["2002:7f00:1::"],
            &["2001:0:4136:e378:8000:63bf:80ff:fffe"],
            &["0.0.0.0", "::"],
            &["100.64.0.1", "fd00:ec2::254"],
            &[],
        ] {
            assert_eq!(dialled(private).await, Err(Blocked::NoPublicAddress.to_string()), "{private:?}");
        }
    }
}
