//! `pds-worker request-crawl`: asks relays to read this server's event stream.

use anyhow::Context as _;
use clap::Args;
use common::audit::{Act, Action, Subject};
use common::relay::Relay;
use serde::Serialize;
use serde_json::json;
use url::Url;

use super::Outcome;
use super::console::Console;
use super::office::Office;
use crate::relay::RelayClient;

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
    let configured = Relay::all(&office.config.upstreams.crawlers);
    let relays = if relays.is_empty() { configured.clone() } else { Relay::all(&relays) };
    anyhow::ensure!(!relays.is_empty(), "there is no relay to ask: set PDS_CRAWLERS, or give --relay");
    let hostname = office.config.service.hostname.clone();
    let names: Vec<&str> = relays.iter().map(|relay| relay.name.as_str()).collect();
    let act = Act::new(office.actor.clone(), Action::RequestCrawl, Subject::Server)
        .to(json!({ "hostname": hostname, "relays": names }));
    let asker = Asker { client: RelayClient::new(&hostname)?, office: &office, configured, hostname };
    office.admin.audit().witness(&act, asker.ask_each(&relays, console)).await
}

struct Asker<'a> {
    client: RelayClient,
    office: &'a Office,
    configured: Vec<Relay>,
    hostname: String,
}

impl Asker<'_> {
    async fn ask_each(&self, relays: &[Relay], console: Console) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::Sound;
        for relay in relays {
            let answer = self.ask(relay).await?;
            if !answer.accepted {
                outcome = Outcome::Damaged;
            }
            console.tell(&answer)?;
            console.say(line(&answer, &self.hostname))?;
        }
        Ok(outcome)
    }

    /// Asks a relay. If it is among those that workers tell, they know of it.
    async fn ask(&self, relay: &Relay) -> anyhow::Result<Answer> {
        let (relays, interval) = (&self.office.relays, self.office.config.relay.notice_interval);
        let name = relay.name.as_str();
        let claim = if self.configured.contains(relay) {
            Some(relays.claim_now(name, interval).await.context("cannot note that the relay is asked")?)
        } else {
            None
        };
        let answer = self.client.request_crawl(&relay.url).await;
        let noted = match (claim, &answer) {
            (None, _) => Ok(()),
            (Some(claim), Ok(_)) => relays.note_told(name, claim, interval).await.map(drop),
            (Some(claim), Err(refusal)) => {
                relays.note_failed(name, claim, &refusal.to_string(), rand::random()).await.map(drop)
            }
        };
        noted.context("cannot note what the relay answered")?;
        let relay = relay.name.clone();
        Ok(match answer {
            Ok(status) => Answer { relay, accepted: true, status: Some(status), reason: None },
            Err(refusal) => Answer { relay, accepted: false, status: refusal.status, reason: refusal.reason },
        })
    }
}

fn line(answer: &Answer, hostname: &str) -> String {
    let Answer { relay, accepted, status, reason } = answer;
    if *accepted {
        return format!("{relay} will read {hostname}");
    }
    let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    format!("{relay} does not accept: {status}, {}", reason.as_deref().unwrap_or("no reason given"))
}
