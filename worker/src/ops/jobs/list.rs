//! `pds-worker jobs list`.

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use common::jobs::{Filter, Jobs, Letter, State};

use super::super::console::Console;
use super::super::{Outcome, database};

/// Jobs of one round trip.
const PAGE: u16 = 500;
/// Characters of a reason in the table.
const REASON_WIDTH: usize = 80;

/// Which jobs, and how to show them.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only those that were given up.
    #[arg(long)]
    dead: bool,
    /// Only those of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 200)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let jobs = Jobs::new(database::open("jobs list", 1).await?);
    let filter = Filter { id: None, kind: arguments.kind.as_deref(), dead: arguments.dead };
    let (mut after, mut count) = (0, 0);
    while count < arguments.limit {
        let limit = u16::try_from(arguments.limit - count).map_or(PAGE, |left| left.min(PAGE));
        let page = jobs.list_jobs(filter, after, limit).await.context("cannot read the queue")?;
        let Some(last) = page.last() else { break };
        after = last.id;
        if count == 0 {
            console.say(format_args!(
                "{:>10}  {:<8} {:<24} {:>5}  {:<20}  LAST ERROR",
                "ID", "STATE", "KIND", "TRIES", "SINCE OR DUE"
            ))?;
        }
        count += page.len();
        for letter in &page {
            console.tell(letter)?;
            console.say(line(letter))?;
        }
    }
    if count == 0 {
        console.say("no such jobs")?;
    }
    Ok(Outcome::Sound)
}

fn line(letter: &Letter) -> String {
    let Letter { id, kind, attempts, .. } = letter;
    let state = letter.state.as_str();
    // When a dead letter died, when others are or were due.
    let time = time(if letter.state == State::Dead { letter.failed_at } else { Some(letter.run_at) });
    let reason: String = letter.last_error.as_deref().unwrap_or_default().chars().take(REASON_WIDTH).collect();
    format!("{id:>10}  {state:<8} {kind:<24} {attempts:>5}  {time:<20}  {reason}").trim_end().to_owned()
}

/// To the second.
pub(super) fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
