//! `pds-worker invite create`.

use anyhow::Context as _;
use atproto::syntax::Did;
use clap::Args;
use common::account::NewInvites;
use serde_json::json;

use super::super::Outcome;
use super::super::console::Console;
use super::super::office::Office;

/// How many, and whose.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How often each code may be used.
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: i32,
    /// How many codes, for each account if several are named.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// Whose they are; may be given several times. Without it they are yours to give away.
    #[arg(long = "for", value_name = "DID")]
    accounts: Vec<Did>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("invite create").await?;
    let new = NewInvites { codes: arguments.count, uses: arguments.uses, accounts: arguments.accounts };
    let made = office.invites.create(&office.actor, &new).await.context("no code was made")?;
    for owned in made {
        for code in owned.codes {
            console.tell(&json!({ "code": code, "account": owned.account, "uses": new.uses }))?;
            console.say(code)?;
        }
    }
    Ok(Outcome::Sound)
}
