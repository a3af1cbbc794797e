//! `pds-worker invite list`.

use anyhow::Context as _;
use chrono::SecondsFormat;
use clap::Args;
use common::account::{Invite, InviteOrder, InvitePlace};
use serde_json::json;

use super::super::Outcome;
use super::super::console::Console;
use super::super::office::Office;

/// Codes that are read at once.
const PAGE: u16 = 500;

/// Which codes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Begin with the most used one instead of the newest.
    #[arg(long)]
    by_use: bool,
    /// Only codes that may still be used.
    #[arg(long)]
    usable: bool,
    /// So many at most.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("invite list").await?;
    let order = if arguments.by_use { InviteOrder::Usage } else { InviteOrder::Recent };
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut after: Option<InvitePlace> = None;
    console.say(format_args!("{:<40}{:<12}{:<22}{:<34}STATE", "CODE", "USED", "MADE", "FOR"))?;
    while left > 0 {
        let page = office.invites.list(order, after.as_ref(), PAGE).await.context("cannot read the codes")?;
        let Some(last) = page.last() else { break };
        after = Some(InvitePlace::of(order, last));
        let is_wanted = |invite: &&Invite| !arguments.usable || !(invite.disabled || invite.is_used_up());
        for invite in page.iter().filter(is_wanted).take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            print(invite, console)?;
        }
    }
    Ok(Outcome::Sound)
}

fn print(invite: &Invite, console: Console) -> anyhow::Result<()> {
    let uses: Vec<_> = invite.uses.iter().map(|one| json!({ "did": one.used_by, "at": one.used_at })).collect();
    console.tell(&json!({
        "code": invite.code, "available": invite.available, "disabled": invite.disabled,
        "forAccount": invite.for_account, "createdBy": invite.created_by, "createdAt": invite.created_at, "uses": uses,
    }))?;
    let state = match (invite.disabled, invite.is_used_up()) {
        (true, _) => "stopped",
        (false, true) => "used up",
        (false, false) => "usable",
    };
    console.say(format_args!(
        "{:<40}{:<12}{:<22}{:<34}{state}",
        invite.code,
        format!("{} of {}", invite.uses.len(), invite.available),
        invite.created_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        invite.for_account,
    ))
}
