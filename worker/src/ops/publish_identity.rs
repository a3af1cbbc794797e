//! `pds-worker publish-identity`: announces who accounts are once more.

use std::time::Duration;

use anyhow::Context as _;
use atproto::syntax::Did;
use clap::Args;
use common::account::{AccountDetails, Accounts, Search};
use common::audit::{Act, Action, Subject};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::Outcome;
use super::console::{self, Console};
use super::office::Office;

/// Accounts that are read at once.
const PAGE: u16 = 500;

/// Whose identity.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["accounts", "all"]))]
pub struct PublishIdentity {
    /// Accounts, each by its DID, handle or e-mail address.
    accounts: Vec<String>,
    /// All active accounts.
    #[arg(long)]
    all: bool,
    /// With --all: begin after this account, given as above. Accounts are announced, and printed, the oldest first; to go
    /// on where a run ended, give the last one that it printed.
    #[arg(long, value_name = "ACCOUNT", requires = "all", conflicts_with = "accounts")]
    after: Option<String>,
    /// So many a second: relays slow a server down that sends too many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    per_second: u16,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

impl PublishIdentity {
    /// Announces each account's handle, upon which relays resolve handle and DID anew.
    ///
    /// # Errors
    /// If an account is not there, or Postgres fails; those before it are announced, and the error says how to go on.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        let office = Office::open("publish-identity").await?;
        let mut publisher = Publisher::new(&office, &self);
        if self.all {
            let after = match &self.after {
                Some(name) => Some(office.find(name).await?),
                None => None,
            };
            publisher.publish_all(after.as_ref()).await?;
        } else {
            let mut found = Vec::new();
            for name in &self.accounts {
                found.push(office.find(name).await?);
            }
            for details in found {
                publisher.publish(&details).await?;
            }
        }
        console::progress(format_args!("{} identities announced", publisher.published));
        Ok(Outcome::Sound)
    }
}

struct Publisher<'a> {
    office: &'a Office,
    console: Console,
    pace: tokio::time::Interval,
    published: u64,
    /// The last of them.
    last: Option<Did>,
}

impl<'a> Publisher<'a> {
    fn new(office: &'a Office, arguments: &PublishIdentity) -> Self {
        let mut pace = interval(Duration::from_secs(1) / u32::from(arguments.per_second));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { office, console: Console::new(arguments.json), pace, published: 0, last: None }
    }

    /// One act in the audit log is for all of them.
    async fn publish_all(&mut self, after: Option<&AccountDetails>) -> anyhow::Result<()> {
        let Office { admin, actor, accounts, .. } = self.office;
        let all = match after {
            Some(after) => json!({ "all": true, "after": after.account.did }),
            None => json!({ "all": true }),
        };
        let act = Act::new(actor.clone(), Action::AnnounceIdentity, Subject::Server).to(all);
        let cursor = after.and_then(|after| Search::All.cursor(&after.account));
        let published = admin.audit().witness(&act, self.publish_each(accounts, cursor)).await;
        published.with_context(|| match &self.last {
            Some(last) => format!("go on with --all --after {last}; {} were announced", self.published),
            None => "none was announced".to_owned(),
        })
    }

    async fn publish_each(&mut self, accounts: &Accounts, mut cursor: Option<String>) -> anyhow::Result<()> {
        let admin = &self.office.admin;
        loop {
            let page = accounts.search(&Search::All, cursor.as_deref(), PAGE).await;
            let page = page.context("cannot read the accounts")?;
            for details in page.accounts.iter().filter(|details| details.account.status.is_active()) {
                self.pace.tick().await;
                let announced = admin.announce_unnoted(&details.account.did).await;
                // Else it was deleted meanwhile.
                if announced.with_context(|| failure(details))? {
                    self.report(details)?;
                }
            }
            let Some(next) = page.cursor else { return Ok(()) };
            cursor = Some(next);
        }
    }

    async fn publish(&mut self, details: &AccountDetails) -> anyhow::Result<()> {
        self.pace.tick().await;
        let announced = self.office.admin.announce_identity(&self.office.actor, &details.account.did).await;
        anyhow::ensure!(announced.with_context(|| failure(details))?, "{} is gone", details.account.did);
        self.report(details)
    }

    fn report(&mut self, details: &AccountDetails) -> anyhow::Result<()> {
        self.published += 1;
        let account = &details.account;
        self.last = Some(account.did.clone());
        self.console.tell(&json!({ "did": account.did, "handle": account.shown_handle() }))?;
        self.console.say(format_args!("{} {}", account.did, account.shown_handle()))
    }
}

fn failure(details: &AccountDetails) -> String {
    format!("{} was not announced", details.account.did)
}
