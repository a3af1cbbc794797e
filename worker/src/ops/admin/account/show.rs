//! `pds-worker admin account show`.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use common::account::{AccountDetails, Invite};
use common::blob::BlobUsage;
use serde::Serialize;

use super::super::super::Outcome;
use super::super::super::console::Console;
use super::super::super::office::Office;
use super::print::{AccountLine, time};

/// Which account.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Its DID, handle or e-mail address.
    account: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// An account with its invitations, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    account: AccountLine<'a>,
    /// The code it came with.
    invited_by: Option<&'a str>,
    /// The codes it has.
    invites: Vec<&'a str>,
    /// What is stored for it.
    blobs: BlobUsage,
    /// No limit if it is absent.
    max_blob_bytes: Option<u64>,
    max_blobs: Option<u64>,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("admin account show").await?;
    let details = office.find(&arguments.account).await?;
    let dids = [&details.account.did];
    let owned = office.invites.list_of_all(&dids).await.context("cannot read the invitations")?;
    let used = office.invites.list_used_by(&dids).await.context("cannot read the invitations")?;
    let usage = office.quotas.usage(details.account.id).await.context("cannot read the usage")?;
    let quota = office.quotas.find(details.account.id).await.context("cannot read the quota")?;
    console.tell(&Shown {
        blobs: usage,
        max_blob_bytes: quota.bytes,
        max_blobs: quota.count,
        account: AccountLine::of(&details),
        invited_by: used.first().map(|invite| invite.code.as_str()),
        invites: owned.iter().map(|invite| invite.code.as_str()).collect(),
    })?;
    for line in lines(&details, &owned, &used) {
        console.say(line)?;
    }
    let limit = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| format!("of {limit}"));
    console.say(format_args!("blobs          {} ({})", usage.count, limit(quota.count)))?;
    console.say(format_args!("their bytes    {} ({})", usage.bytes, limit(quota.bytes)))?;
    Ok(Outcome::Sound)
}

fn lines(details: &AccountDetails, owned: &[Invite], used: &[Invite]) -> Vec<String> {
    let account = &details.account;
    let when = |at: Option<DateTime<Utc>>| at.map_or_else(|| "no".to_owned(), time);
    let mut lines = vec![
        format!("DID            {}", account.did),
        format!("handle         {}", account.shown_handle()),
        format!("e-mail         {}", account.email.as_deref().unwrap_or("none")),
        format!("confirmed      {}", when(account.email_confirmed_at)),
        format!("created        {}", time(account.created_at)),
        format!("status         {}", account.status.wire_name().unwrap_or("active")),
        format!("taken down     {}", details.takedown_ref.as_deref().unwrap_or("no")),
        format!("deactivated    {}", when(details.deactivated_at)),
        format!("to be deleted  {}", when(details.delete_after)),
        format!("may invite     {}", if details.invites_disabled { "no" } else { "yes" }),
        format!("came with      {}", used.first().map_or("no invitation", |invite| invite.code.as_str())),
    ];
    lines.extend(owned.iter().map(|invite| {
        let state = if invite.disabled { ", stopped" } else { "" };
        format!("invitation     {} (used {} of {}{state})", invite.code, invite.uses.len(), invite.available)
    }));
    lines
}
