//! `pds-worker jobs retry` and `jobs discard`.

use anyhow::{Context as _, ensure};
use clap::Args;
use common::jobs::{Filter, Jobs};
use serde_json::json;

use super::super::console::Console;
use super::super::{Outcome, database};

/// Which jobs.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The job of this number, whether it was given up or waits.
    id: Option<i64>,
    /// All of this kind that were given up.
    #[arg(long)]
    kind: Option<String>,
    /// All that were given up.
    #[arg(long)]
    all_dead: bool,
}

/// Which job.
#[derive(Debug, Args)]
pub struct Discard {
    /// Its number.
    id: i64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let Which { id, kind, .. } = &arguments.which;
    let jobs = Jobs::new(database::open("jobs retry", 1).await?);
    let filter = Filter { id: *id, kind: kind.as_deref(), dead: id.is_none() };
    let count = jobs.retry_jobs(filter).await.context("cannot change the queue")?;
    if let Some(id) = id {
        ensure!(
            count > 0,
            "nothing to try again: there is no job {id}, a worker is at it, or a newer one stands in for it"
        );
    }
    console.tell(&json!({ "retried": count }))?;
    console.say(format_args!("to be tried again: {count}"))?;
    Ok(Outcome::Sound)
}

pub(super) async fn discard(arguments: &Discard) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let id = arguments.id;
    let jobs = Jobs::new(database::open("jobs discard", 1).await?);
    let is_gone = jobs.discard_job(id).await.context("cannot change the queue")?;
    ensure!(is_gone, "there is no job {id}, or a worker is at it");
    console.tell(&json!({ "discarded": id }))?;
    console.say(format_args!("removed job {id}"))?;
    Ok(Outcome::Sound)
}
