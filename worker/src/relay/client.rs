//! The calls.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::time::Duration;

use anyhow::Context as _;
use atproto::syntax::Did;
use common::http::{self, Client, RequestBuilder};
use common::relay::HostStatus;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use crate::plain;

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 * 1024;
/// Characters of a reason that are shown.
const MAX_REASON: usize = 200;
/// The names under which servers refuse methods that they do not have.
const NO_SUCH_METHOD: [&str; 3] = ["MethodNotImplemented", "XRPCNotSupported", "InvalidMethod"];

/// How long calls may take, from the name to the last byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Asking for a state.
    pub query: Duration,
    /// Telling: a relay may look at this server before it answers.
    pub notice: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { query: Duration::from_secs(10), notice: Duration::from_secs(20) }
    }
}

/// Speaks to relays on behalf of this server; cheap to clone.
#[derive(Clone, Debug)]
pub struct RelayClient {
    client: Client,
    hostname: String,
    limits: Limits,
}

/// Why a relay did not do what it was asked. As text, one line without control characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The status of its answer; `None` if there was none.
    pub status: Option<u16>,
    /// The name of its error, if it gave one.
    name: Option<String>,
    /// What it said, or why it said nothing.
    pub reason: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.as_deref().unwrap_or("no reason given");
        match self.status {
            Some(status) => write!(f, "{status}, {reason}"),
            None => f.write_str(reason),
        }
    }
}

/// What a relay says of this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    /// It knows it.
    Known {
        /// How the server is to it.
        status: HostStatus,
        /// The last event that it has noted; 0 if none.
        cursor: Option<i64>,
        /// Accounts that it counts.
        accounts: Option<u64>,
    },
    /// It knows no such server.
    NotFound,
    /// It has no such method.
    NotTold,
}

/// What a relay says of an account that it knows.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Repo {
    /// Whether it shows it.
    pub active: bool,
    /// Why not.
    pub status: Option<String>,
}

/// Output of `com.atproto.sync.getHostStatus`, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostOutput {
    seq: Option<i64>,
    account_count: Option<i64>,
    status: Option<String>,
}

/// The envelope of an error.
#[derive(Deserialize)]
struct Envelope {
    error: String,
    message: Option<String>,
}

impl RelayClient {
    /// Speaks for the server of this host name.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(hostname: &str) -> anyhow::Result<Self> {
        Self::with_limits(hostname, Limits::default())
    }

    /// As [`RelayClient::new`], with other limits.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn with_limits(hostname: &str, limits: Limits) -> anyhow::Result<Self> {
        let client = http::internal(limits.notice).context("cannot set up TLS")?;
        Ok(Self { client, hostname: hostname.to_owned(), limits })
    }

    /// Asks a relay to read this server's event stream; gives the status of its answer.
    ///
    /// # Errors
    /// If it does not accept.
    pub async fn request_crawl(&self, relay: &Url) -> Result<u16, Refusal> {
        let url = method(relay, "com.atproto.sync.requestCrawl")?;
        let call = self.client.post(url).json(&json!({ "hostname": self.hostname }));
        Ok(answer(call.timeout(self.limits.notice)).await?.0)
    }

    /// Asks a relay about this server.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn host_status(&self, relay: &Url) -> Result<Host, Refusal> {
        let asked = self.query::<HostOutput>(relay, "com.atproto.sync.getHostStatus", ("hostname", &self.hostname));
        match asked.await {
            Ok(output) => Ok(Host::Known {
                status: output.status.map_or(HostStatus::Unknown, |status| HostStatus::from_wire(&status)),
                // Relays say -1 as long as they have noted none.
                cursor: output.seq.map(|seq| seq.max(0)),
                accounts: output.account_count.and_then(|count| count.try_into().ok()),
            }),
            Err(refusal) if refusal.is("HostNotFound") => Ok(Host::NotFound),
            Err(refusal) if refusal.status == Some(501) || NO_SUCH_METHOD.iter().any(|name| refusal.is(name)) => {
                Ok(Host::NotTold)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Asks a relay about an account; `None` if it does not know it.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn repo_status(&self, relay: &Url, did: &Did) -> Result<Option<Repo>, Refusal> {
        match self.query(relay, "com.atproto.sync.getRepoStatus", ("did", did.as_str())).await {
            Ok(repo) => Ok(Some(repo)),
            Err(refusal) if refusal.is("RepoNotFound") => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn query<T: DeserializeOwned>(&self, relay: &Url, name: &str, parameter: (&str, &str)) -> Result<T, Refusal> {
        let mut url = method(relay, name)?;
        url.query_pairs_mut().append_pair(parameter.0, parameter.1);
        let (status, body) = answer(self.client.get(url).timeout(self.limits.query)).await?;
        serde_json::from_slice(&body).map_err(|_| Refusal {
            status: Some(status),
            name: None,
            reason: Some("an answer that is none to this question".to_owned()),
        })
    }
}

impl Refusal {
    fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    fn silent(reason: impl fmt::Display) -> Self {
        Self { status: None, name: None, reason: Some(plain::line(&reason.to_string(), MAX_REASON)) }
    }

    /// What an error's envelope says, or else the beginning of the text.
    fn spoken(status: u16, body: &[u8]) -> Self {
        let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
        let text = match &envelope {
            Some(Envelope { error, message: Some(message) }) => format!("{error}: {message}"),
            Some(Envelope { error, message: None }) => error.clone(),
            None if (300..400).contains(&status) => "a redirect, which is not followed".to_owned(),
            None => String::from_utf8_lossy(body).into_owned(),
        };
        let reason = Some(plain::line(&text, MAX_REASON)).filter(|reason| !reason.is_empty());
        Self { status: Some(status), name: envelope.map(|envelope| envelope.error), reason }
    }
}

fn method(relay: &Url, name: &str) -> Result<Url, Refusal> {
    relay.join(&format!("/xrpc/{name}")).map_err(|error| Refusal::silent(format_args!("no URL to ask at: {error}")))
}

/// Status and body of an answer that says yes.
async fn answer(call: RequestBuilder) -> Result<(u16, Vec<u8>), Refusal> {
    let response = call.send().await.map_err(|error| {
        let causes: Vec<String> =
            successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
        let problem = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
        Refusal::silent(format_args!("{problem}: {}", causes.join(": ")))
    })?;
    let status = response.status();
    let body = http::read_limited(response, MAX_ANSWER).await;
    let body = body.map_err(|error| Refusal {
        status: Some(status.as_u16()),
        ..Refusal::silent(format_args!("the answer broke off: {error}"))
    })?;
    if status.is_success() {
        Ok((status.as_u16(), body.to_vec()))
    } else {
        Err(Refusal::spoken(status.as_u16(), &body))
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn reasons_are_taken_from_whatever_was_said() {
        let read = |body: &str| Refusal::spoken(400, body.as_bytes()).reason;
        let envelope = r#"{"error":"HostBanned","message":"no"}"#;
        assert_eq!(read(envelope).as_deref(), Some("HostBanned: no"));
        assert_eq!(read(r#"{"error":"HostBanned"}"#).as_deref(), Some("HostBanned"));
        assert_eq!(read("<html>bad gateway\n").as_deref(), Some("<html>bad gateway"));
        assert_eq!(read("\u{1b}[2Jfine\nyes").as_deref(), Some("\\u{1b}[2Jfine\\nyes"));
        assert_eq!(read(&"x".repeat(5_000)).map(|reason| reason.len()), Some(200));
        assert_eq!(read(""), None);
        assert_eq!(Refusal::spoken(502, b"").to_string(), "502, no reason given");
        assert_eq!(Refusal::spoken(302, b"").to_string(), "302, a redirect, which is not followed");
    }
}
