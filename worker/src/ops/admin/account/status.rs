//! `pds-worker admin account takedown`, `untakedown`, `deactivate` and `activate`.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use common::lifecycle::StatusChange;
use serde_json::json;

use super::super::super::Outcome;
use super::super::super::console::Console;
use super::super::super::office::Office;

/// Which account.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Its DID, handle or e-mail address.
    account: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which account, and why.
#[derive(Debug, Args)]
pub struct TakedownArguments {
    #[command(flatten)]
    account: Arguments,
    /// Why, in a few words or as the number of a case; without it, the time is kept.
    #[arg(long, value_name = "REF")]
    reference: Option<String>,
}

/// Which account, and whether it is to go.
#[derive(Debug, Args)]
pub struct DeactivateArguments {
    #[command(flatten)]
    account: Arguments,
    /// Let it be deleted at this time, as 2026-12-24T18:00:00Z, unless it is opened before.
    #[arg(long, value_name = "TIME")]
    delete_after: Option<DateTime<Utc>>,
}

pub(super) async fn take_down(arguments: &TakedownArguments) -> anyhow::Result<Outcome> {
    let reference = arguments.reference.clone().filter(|reference| !reference.is_empty());
    change(&arguments.account, "takedown", &StatusChange::TakeDown { reference }).await
}

pub(super) async fn restore(arguments: &Arguments) -> anyhow::Result<Outcome> {
    change(arguments, "untakedown", &StatusChange::Restore).await
}

pub(super) async fn deactivate(arguments: &DeactivateArguments) -> anyhow::Result<Outcome> {
    let delete_after = arguments.delete_after;
    change(&arguments.account, "deactivate", &StatusChange::Deactivate { delete_after }).await
}

pub(super) async fn activate(arguments: &Arguments) -> anyhow::Result<Outcome> {
    change(arguments, "activate", &StatusChange::Activate).await
}

/// Changes an account's status, and says how it stands now.
async fn change(arguments: &Arguments, verb: &str, change: &StatusChange) -> anyhow::Result<Outcome> {
    let office = Office::open(&format!("admin account {verb}")).await?;
    let account = office.find(&arguments.account).await?.account;
    let status = office.admin.change_status(&office.actor, &account.did, change).await;
    let status = status.with_context(|| format!("{} was not changed", account.did))?.wire_name().unwrap_or("active");
    let console = Console::new(arguments.json);
    console.tell(&json!({ "did": account.did, "handle": account.handle, "status": status }))?;
    console.say(format_args!("{} ({}) is {status} now.", account.did, account.shown_handle()))?;
    Ok(Outcome::Sound)
}
