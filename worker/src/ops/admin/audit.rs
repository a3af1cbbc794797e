//! `pds-worker admin audit`.

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use common::audit::{AuditLog, Entry, Filter};
use serde_json::Value;

use super::super::console::Console;
use super::super::{Outcome, database};

/// Entries that are read at once.
const PAGE: u16 = 500;

/// Which entries.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Of this account, by its DID, with its records and blobs; or of exactly this record, blob or invitation code.
    #[arg(long)]
    subject: Option<String>,
    /// By this actor: `admin`, the DID of a moderation service, or `command:` and a user.
    #[arg(long)]
    actor: Option<String>,
    /// Since this time, as 2026-11-21T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// So many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let log = AuditLog::new(database::open("admin audit", 1).await?);
    let Arguments { subject, actor, since, limit, .. } = arguments;
    let mut filter = Filter { subject, actor, since, before: None };
    let mut left = limit;
    while left > 0 {
        let size = u16::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = log.list(&filter, size).await.context("cannot read the audit log")?;
        for entry in &page {
            console.tell(entry)?;
            console.say(line(entry))?;
        }
        if page.len() < usize::from(size) {
            break;
        }
        filter.before = page.last().map(|entry| entry.id);
        left -= u32::from(size);
    }
    Ok(Outcome::Sound)
}

/// Number, time, actor, action, outcome, subject, what changed, why it failed.
fn line(entry: &Entry) -> String {
    let at = entry.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let Entry { id, actor, action, outcome, subject, .. } = entry;
    let show = |value: &Option<Value>| value.as_ref().map_or_else(|| "?".to_owned(), Value::to_string);
    let change = (entry.before.is_some() || entry.after.is_some())
        .then(|| format!("  {} → {}", show(&entry.before), show(&entry.after)));
    let reason = entry.reason.as_ref().map(|reason| format!("  ({reason})"));
    format!(
        "{id:>6}  {at}  {actor:<16}  {action:<24}  {outcome:<6}  {subject}{}{}",
        change.unwrap_or_default(),
        reason.unwrap_or_default(),
    )
}
