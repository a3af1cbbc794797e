//! `pds-worker admin account set-quota`.

use std::num::ParseIntError;
use std::str::FromStr;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use common::config::BlobQuota;
use serde_json::json;

use super::super::super::Outcome;
use super::super::super::console::Console;
use super::super::super::office::Office;

/// Whose quota, and what it is to be. What is not named stays as it is.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("quota").required(true).multiple(true))]
pub struct Arguments {
    /// Its DID, handle or e-mail address.
    account: String,
    /// Bytes of all its blobs: a number, or `unlimited`.
    #[arg(long, group = "quota")]
    bytes: Option<Limit>,
    /// Number of its blobs, or `unlimited`.
    #[arg(long, group = "quota")]
    count: Option<Limit>,
    /// What the settings say of all accounts.
    #[arg(long, group = "quota", conflicts_with_all = ["bytes", "count"])]
    default: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A number that is not to be exceeded, if there is one.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<u64>);

impl FromStr for Limit {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        if text == "unlimited" { Ok(Self(None)) } else { text.parse().map(|limit| Self(Some(limit))) }
    }
}

impl Arguments {
    /// The account's own quota, which until now may have `before`.
    fn quota(&self, before: BlobQuota) -> Option<BlobQuota> {
        let limit = |named: Option<Limit>, before| named.map_or(before, |limit| limit.0);
        let own = BlobQuota { bytes: limit(self.bytes, before.bytes), count: limit(self.count, before.count) };
        (!self.default).then_some(own)
    }
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("admin account set-quota").await?;
    let account = office.find(&arguments.account).await?.account;
    let before = office.quotas.find(account.id).await.context("cannot read the quota")?;
    let quota = arguments.quota(before);
    let set = office.quotas.set(&office.actor, &account.did, quota).await.context("the quota was not changed")?;
    anyhow::ensure!(set, "the account {} is gone", arguments.account);
    let quota = office.quotas.find(account.id).await.context("cannot read the quota")?;
    console.tell(&json!({ "did": account.did, "maxBlobBytes": quota.bytes, "maxBlobs": quota.count }))?;
    let limit = |limit: Option<u64>| limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string());
    let (count, bytes) = (limit(quota.count), limit(quota.bytes));
    console.say(format_args!("{} may have {count} blobs with {bytes} bytes.", account.did))?;
    Ok(Outcome::Sound)
}
