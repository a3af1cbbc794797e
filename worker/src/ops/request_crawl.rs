//! `pds-worker request-crawl`: asks relays to read this server's event stream.

use std::error::Error as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use common::audit::{Act, Action, Subject};
use common::http;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::Outcome;
use super::console::Console;
use super::office::Office;

/// How long a relay may take: it may look at this server before it answers.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Which relays.
#[derive(Debug, Args)]
pub struct RequestCrawl {
    /// This relay instead of those of `PDS_CRAWLERS`; may be given several times.
    #[arg(long = "relay", value_name = "URL")]
    relays: Vec<Url>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// What a relay answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    relay: String,
    /// It said yes.
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// What it said, or why it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl RequestCrawl {
    /// Asks each relay, and says what each answered. Exit code 1 if one did not accept.
    ///
    /// # Errors
    /// If there is none to ask, or nothing can be noted.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        ask_all(self.relays, Console::new(self.json)).await
    }
}

async fn ask_all(relays: Vec<Url>, console: Console) -> anyhow::Result<Outcome> {
    let office = Office::open("request-crawl").await?;
    let relays = if relays.is_empty() { office.config.upstreams.crawlers.clone() } else { relays };
    anyhow::ensure!(!relays.is_empty(), "there is no relay to ask: set PDS_CRAWLERS, or give --relay");
    let hostname = office.config.service.hostname.clone();
    let names: Vec<&str> = relays.iter().map(Url::as_str).collect();
    let act = Act::new(office.actor.clone(), Action::RequestCrawl, Subject::Server)
        .to(json!({ "hostname": hostname, "relays": names }));
    office.admin.audit().witness(&act, ask_each(&relays, &hostname, console)).await
}

async fn ask_each(relays: &[Url], hostname: &str, console: Console) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Sound;
    for relay in relays {
        let answer = ask(relay, hostname).await;
        if !answer.accepted {
            outcome = Outcome::Damaged;
        }
        console.tell(&answer)?;
        console.say(line(&answer, hostname))?;
    }
    Ok(outcome)
}

fn line(answer: &Answer, hostname: &str) -> String {
    let Answer { relay, accepted, status, reason } = answer;
    if *accepted {
        return format!("{relay} will read {hostname}");
    }
    let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    format!("{relay} does not accept: {status}, {}", reason.as_deref().unwrap_or("no reason given"))
}

async fn ask(relay: &Url, hostname: &str) -> Answer {
    let answer = |accepted, status, reason| Answer { relay: relay.to_string(), accepted, status, reason };
    match post(relay, hostname).await {
        Ok((status, _)) if (200..300).contains(&status) => answer(true, Some(status), None),
        Ok((status, body)) => answer(false, Some(status), reason(&body)),
        Err(error) => answer(false, None, Some(format!("{error:#}"))),
    }
}

/// Status and body of the relay's answer.
async fn post(relay: &Url, hostname: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let client = http::internal(LIMIT).context("cannot set up TLS")?;
    let url = relay.join("/xrpc/com.atproto.sync.requestCrawl").context("no URL to ask at")?;
    let response = client.post(url).json(&json!({ "hostname": hostname })).send().await.map_err(|error| {
        let causes: Vec<String> =
            std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
        anyhow::anyhow!("cannot be reached: {}", causes.join(": "))
    })?;
    let status = response.status().as_u16();
    let body = http::read_limited(response, MAX_ANSWER).await.context("the answer broke off")?;
    Ok((status, body.to_vec()))
}

/// What an error's envelope says, or else the beginning of the text.
fn reason(body: &[u8]) -> Option<String> {
    if let Ok(envelope) = serde_json::from_slice::<Value>(body)
        && let Some(name) = envelope["error"].as_str()
    {
        return Some(match envelope["message"].as_str() {
            Some(message) => format!("{name}: {message}"),
            None => name.to_owned(),
        });
    }
    let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
    let text = text.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn reasons_are_taken_from_whatever_was_said() {
        let read = |body: &str| reason(body.as_bytes());
        let envelope = r#"{"error":"HostBanned","message":"no"}"#;
        assert_eq!(read(envelope).as_deref(), Some("HostBanned: no"));
        assert_eq!(read(r#"{"error":"HostBanned"}"#).as_deref(), Some("HostBanned"));
        assert_eq!(read("<html>bad gateway\n").as_deref(), Some("<html>bad gateway"));
        assert_eq!(read(""), None);
    }
}
