//! `pds-worker admin account delete`.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::super::super::Outcome;
use super::super::super::console::{self, Console};
use super::super::super::office::Office;

/// Which account.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Its DID, handle or e-mail address.
    account: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("admin account delete").await?;
    let account = office.find(&arguments.account).await?.account;
    let question = format!("Delete {} ({}) with all its data, for good?", account.did, account.shown_handle());
    if !arguments.yes && !console::confirm(&question)? {
        console.tell(&json!({ "did": account.did, "deleted": false }))?;
        console.say("Nothing was changed.")?;
        return Ok(Outcome::Damaged);
    }
    let deleted = office.admin.delete(&office.actor, &account.did).await.context("the account was not deleted")?;
    console.tell(&json!({ "did": account.did, "deleted": deleted }))?;
    if !deleted {
        console.say(format_args!("{} was gone already.", account.did))?;
        return Ok(Outcome::Damaged);
    }
    console.say(format_args!("{} is deleted. A worker removes what is left of it.", account.did))?;
    Ok(Outcome::Sound)
}
