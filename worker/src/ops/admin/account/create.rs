//! `pds-worker admin account create`.

use anyhow::Context as _;
use clap::Args;
use common::lifecycle::NewAccount;
use serde_json::json;

use super::super::super::Outcome;
use super::super::super::console::Console;
use super::super::super::office::Office;
use super::password;

/// Who it is for.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The handle.
    #[arg(long)]
    handle: String,
    /// The e-mail address, which its owner has to confirm.
    #[arg(long)]
    email: String,
    #[command(flatten)]
    password: password::Source,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("admin account create").await?;
    let password = arguments.password.take()?;
    let new = NewAccount {
        handle: arguments.handle,
        email: Some(arguments.email),
        password: Some(password.text.clone()),
        ..NewAccount::default()
    };
    let made = office.admin.create_account(&office.actor, new).await.context("the account was not made")?;
    console.tell(&json!({ "did": made.did, "handle": made.handle, "password": password.shown() }))?;
    console.say(format_args!("{} is {}.", made.handle, made.did))?;
    if let Some(text) = password.shown() {
        console.say(format_args!("The password is {text}"))?;
    }
    Ok(Outcome::Sound)
}
