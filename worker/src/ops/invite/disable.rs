//! `pds-worker invite disable`.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::super::Outcome;
use super::super::console::Console;
use super::super::office::Office;

/// Which codes.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["codes", "accounts"]))]
pub struct Arguments {
    /// Codes; unknown ones are passed over.
    codes: Vec<String>,
    /// All codes that this account has now; may be given several times.
    #[arg(long = "of", value_name = "DID")]
    accounts: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("invite disable").await?;
    let stopped = office.invites.disable(&office.actor, &arguments.codes, &arguments.accounts).await;
    let stopped = stopped.context("no code was stopped")?;
    console.tell(&json!({ "stopped": stopped }))?;
    console.say(format_args!("{stopped} codes that could be used cannot be used any more."))?;
    Ok(Outcome::Sound)
}
