//! Where a server is, and connections to it.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpStream;
use url::Url;

/// The scheme, host and port of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    /// Host and port, as the header `Host` wants them.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) async fn connect(&self) -> Result<TcpStream> {
        let host = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.authority()))?;
        // Requests are small and each waits for its answer: Nagle's algorithm would only delay them.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl FromStr for Origin {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let url: Url = text.parse().with_context(|| format!("{text} is not a URL"))?;
        if url.scheme() != "http" {
            bail!("{text}: only http:// is measured; ask the server behind its proxy");
        }
        let host = url.host_str().context("the URL has no host")?.to_owned();
        let port = url.port_or_known_default().context("the URL has no port")?;
        Ok(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_and_port() {
        let authority = |text: &str| text.parse::<Origin>().map(|origin| origin.authority());
        assert_eq!(authority("http://localhost:2583").unwrap(), "localhost:2583");
        assert_eq!(authority("http://pds.example/").unwrap(), "pds.example:80");
        assert_eq!(authority("http://[::1]:1").unwrap(), "[::1]:1");
        assert!(authority("https://pds.example").is_err());
        assert!(authority("localhost").is_err());
    }
}
