//! Handles in the DNS: TXT records of `_atproto.<handle>`.

use std::net::SocketAddr;

use atproto::syntax::{Did, Handle};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

/// Port of a name server unless another is given.
const DNS_PORT: u16 = 53;
/// What a record that names a DID begins with.
const PREFIX: &str = "did=";

/// Asks name servers which DID a handle stands for.
#[derive(Clone, Debug)]
pub(super) struct HandleDns(TokioResolver);

impl HandleDns {
    /// Asks the name servers of this machine.
    pub(super) fn system() -> Result<Self, NetError> {
        Ok(Self(TokioResolver::builder_tokio()?.build()?))
    }

    /// Asks one of `servers`, each a name or address with or without a port. `None` if none of them can be found.
    pub(super) async fn of(servers: &[String]) -> Option<Self> {
        let mut config = ResolverConfig::default();
        for server in servers {
            for address in addresses(server).await {
                config.add_name_server(name_server(address));
            }
        }
        if config.name_servers().is_empty() {
            return None;
        }
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.build().ok().map(Self)
    }

    /// The DID that exactly one record names. No record, several of them and no answer all mean the same: `None`.
    pub(super) async fn find(&self, handle: &Handle) -> Option<Did> {
        // The final dot keeps the search domains of this machine out of it.
        let lookup = self.0.txt_lookup(format!("_atproto.{handle}.")).await.ok()?;
        let texts = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        sole_did(texts)
    }
}

/// The DID of the one text that names one.
fn sole_did(texts: impl Iterator<Item = Vec<u8>>) -> Option<Did> {
    let mut named = texts.filter_map(|text| String::from_utf8(text).ok()?.strip_prefix(PREFIX).map(str::to_owned));
    let (first, second) = (named.next()?, named.next());
    if second.is_some() { None } else { first.parse().ok() }
}

async fn addresses(server: &str) -> Vec<SocketAddr> {
    let found = match server.parse::<SocketAddr>() {
        Ok(address) => return vec![address],
        Err(_) => tokio::net::lookup_host((server, DNS_PORT)).await,
    };
    found.map(Iterator::collect).unwrap_or_default()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

#[cfg(test)]
mod tests {
    use super::sole_did;

    fn sole(texts: &[&str]) -> Option<String> {
        sole_did(texts.iter().map(|text| text.as_bytes().to_vec())).map(String::from)
    }

    #[test]
    fn exactly_one_record_must_name_a_did() {
        assert_eq!(sole(&["did=did:plc:alice"]).as_deref(), Some("did:plc:alice"));
        assert_eq!(sole(&["v=spf1", "did=did:plc:alice", "DID=did:plc:bob"]).as_deref(), Some("did:plc:alice"));
        for texts in
            [&[][..], &["did:plc:alice"], &["did="], &["did=alice"], &["did=did:plc:alice", "did=did:plc:alice"]]
        {
            assert_eq!(sole(texts), None, "{texts:?}");
        }
    }
}
