//! `pds-worker mail test`.

use anyhow::{Context as _, ensure};
use clap::Args;
use common::clock::Clock;
use common::config::Config;
use serde_json::json;

use super::super::Outcome;
use super::super::console::Console;
use crate::mail::{Finding, Mailer, check};

/// Where to, and how to show it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The address that gets the mail.
    #[arg(long)]
    to: String,
    /// Take the way of the moderators' mails (`PDS_MODERATION_EMAIL_…`).
    #[arg(long)]
    moderation: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let (config, warnings) = Config::mail_from_env()?;
    let prefix = if arguments.moderation { "PDS_MODERATION_EMAIL" } else { "PDS_EMAIL" };
    for warning in &warnings {
        console.say(format_args!("! {warning}"))?;
    }
    let clock = Clock::system();
    Mailer::new(&config, clock.clone())?;
    let email = &config.email;
    let transport = if arguments.moderation { &email.moderation_transport } else { &email.transport };
    let transport = transport.as_ref().with_context(|| format!("{prefix}_SMTP_URL is not set"))?;
    ensure!(arguments.to.contains('@'), "--to takes an address");

    let (server, from) = (transport.server.to_string(), &transport.from_address);
    console.say(format_args!("server  {server}"))?;
    console.say(format_args!("from    {from}"))?;
    console.tell(&json!({ "server": server, "from": from, "to": arguments.to, "warnings": warnings }))?;
    let mut printed = Ok(());
    let mut tell = |finding: Finding| {
        if printed.is_ok() {
            printed = print(console, &finding);
        }
    };
    let names = (config.service.name.as_str(), config.service.hostname.as_str());
    let is_sent = check(transport, names, (&arguments.to, clock.now()), &mut tell).await?;
    printed?;
    if is_sent {
        console.say(format_args!(
            "The server took the mail. Whether it arrives is up to it: look into {}.",
            arguments.to
        ))?;
    }
    Ok(if is_sent { Outcome::Sound } else { Outcome::Damaged })
}

fn print(console: Console, finding: &Finding) -> anyhow::Result<()> {
    let Finding { step, ok, detail, hint } = finding;
    let mark = if *ok { "ok" } else { "FAILED" };
    console.tell(finding)?;
    console.say(format_args!("{mark:<7} {:<10} {detail}", step.as_str()))?;
    match hint {
        Some(hint) => console.say(format_args!("{:<18} {hint}", "")),
        None => Ok(()),
    }
}
