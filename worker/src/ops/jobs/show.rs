//! `pds-worker jobs show`.

use anyhow::Context as _;
use clap::Args;
use common::jobs::{Filter, Jobs, Letter};

use super::super::console::Console;
use super::super::{Outcome, database};
use super::list::time;

/// Which job, and how to show it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Its number.
    id: i64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let jobs = Jobs::new(database::open("jobs show", 1).await?);
    let filter = Filter { id: Some(arguments.id), ..Filter::default() };
    let found = jobs.list_jobs(filter, 0, 1).await.context("cannot read the queue")?;
    let letter =
        found.first().with_context(|| format!("there is no job {}; one that is done is removed", arguments.id))?;
    console.tell(letter)?;
    for (name, value) in facts(letter) {
        console.say(format_args!("{name:<11} {value}"))?;
    }
    Ok(Outcome::Sound)
}

fn facts(letter: &Letter) -> Vec<(&'static str, String)> {
    let facts = [
        ("id", letter.id.to_string()),
        ("kind", letter.kind.clone()),
        ("state", letter.state.as_str().to_owned()),
        ("worker", letter.worker.clone().unwrap_or_default()),
        ("key", letter.dedupe_key.clone().unwrap_or_default()),
        ("payload", letter.payload.to_string()),
        ("enqueued", time(Some(letter.created_at))),
        ("due", time(Some(letter.run_at))),
        ("tries", letter.attempts.to_string()),
        ("failed", time(letter.failed_at)),
        ("last error", letter.last_error.clone().unwrap_or_default()),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}
