//! `pds-worker admin account set-handle` and `set-email`.

use anyhow::Context as _;
use clap::Args;
use common::account::EmailAddress;
use serde_json::json;

use super::super::super::Outcome;
use super::super::super::console::Console;
use super::super::super::office::Office;

/// Whose handle, and which.
#[derive(Debug, Args)]
pub struct HandleArguments {
    /// Its DID, handle or e-mail address.
    account: String,
    /// The new handle.
    handle: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Whose address, and which.
#[derive(Debug, Args)]
pub struct EmailArguments {
    /// Its DID, handle or e-mail address.
    account: String,
    /// The new address.
    email: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn handle(arguments: &HandleArguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("admin account set-handle").await?;
    let did = office.find(&arguments.account).await?.account.did;
    let handle = office.admin.update_handle(&office.actor, &did, &arguments.handle).await;
    let handle = handle.context("the handle was not changed")?;
    console.tell(&json!({ "did": did, "handle": handle }))?;
    console.say(format_args!("{did} is {handle} now."))?;
    Ok(Outcome::Sound)
}

pub(super) async fn email(arguments: &EmailArguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("admin account set-email").await?;
    let did = office.find(&arguments.account).await?.account.did;
    let email: EmailAddress =
        arguments.email.parse().with_context(|| format!("{} is no e-mail address", arguments.email))?;
    let set = office.admin.update_email(&office.actor, &did, &email).await;
    set.context("the e-mail address was not changed")?;
    console.tell(&json!({ "did": did, "email": email.as_str() }))?;
    console.say(format_args!("The e-mail address of {did} is {email} now, not confirmed."))?;
    Ok(Outcome::Sound)
}
