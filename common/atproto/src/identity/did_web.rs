//! Where a `did:web` keeps its document.

use url::{Host, Url};

use crate::syntax::Did;

/// The address of the document of a `did:web`; `None` for other methods and for forms the network does not use.
///
/// Only a host name is allowed, as the protocol asks: no path, no address literal. A port (`%3A1234`) is allowed for
/// `localhost` alone, which is also the only host without TLS. That the host may be dialled is not said by this.
///
/// Source: atproto.com/specs/did, "Blessed DID methods".
pub fn did_web_document_url(did: &Did) -> Option<Url> {
    if did.method() != "web" {
        return None;
    }
    let (host, port) = match did.identifier().split_once("%3A") {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
        None => (did.identifier(), None),
    };
    let local = host == "localhost";
    if host.contains([':', '%']) || port.is_some() && !local {
        return None;
    }
    let scheme = if local { "http" } else { "https" };
    let mut url = Url::parse(&format!("{scheme}://{host}/.well-known/did.json")).ok()?;
    url.set_port(port).ok()?;
    matches!(url.host(), Some(Host::Domain(_))).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_document() {
        for (did, url) in [
            ("did:web:example.com", Some("https://example.com/.well-known/did.json")),
            ("did:web:localhost", Some("http://localhost/.well-known/did.json")),
            ("did:web:localhost%3A2583", Some("http://localhost:2583/.well-known/did.json")),
            ("did:web:example.com%3A8080", None),
            ("did:web:localhost%3A99999", None),
            ("did:web:localhost%3A", None),
            ("did:web:example.com:user", None),
            ("did:web:example.com%2Fuser", None),
            ("did:web:user%40example.com", None),
            ("did:web:127.0.0.1", None),
            ("did:web:2130706433", None),
            ("did:web:0x7f.1", None),
            ("did:web:%5B%3A%3A1%5D", None),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oiz", None),
        ] {
            let found = did_web_document_url(&did.parse().unwrap());
            assert_eq!(found.as_ref().map(Url::as_str), url, "{did}");
        }
    }
}
