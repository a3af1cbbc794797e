//! `pds-worker blob gc`.

use anyhow::Context as _;
use clap::Args;
use common::blob::{Collected, Collector, Forecast};
use serde_json::json;

use super::super::Outcome;
use super::super::console::Console;
use crate::services;

/// One for each object that is being deleted would be too many.
const CONNECTIONS: u32 = 4;

/// Whether to do it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let (config, pool, objects) = super::open("blob gc", CONNECTIONS).await?;
    let collector = services::blob_collector(&config, &objects, &pool);
    if arguments.dry_run {
        let forecast = collector.forecast().await.context("cannot look at the blobs")?;
        print_forecast(&forecast, console)?;
    } else {
        let collected = collect(&collector).await?;
        console.tell(&collected)?;
        let Collected { quarantined, given_up, objects } = collected;
        console.say(format_args!(
            "{quarantined} were put into quarantine, {given_up} given up for good, and {objects} objects deleted."
        ))?;
    }
    Ok(Outcome::Sound)
}

/// All that is due.
async fn collect(collector: &Collector) -> anyhow::Result<Collected> {
    let mut total = Collected::default();
    loop {
        let collected = collector.collect().await.with_context(|| format!("stopped after this: it {total}"))?;
        if collected.is_empty() {
            return Ok(total);
        }
        total += collected;
    }
}

fn print_forecast(forecast: &Forecast, console: Console) -> anyhow::Result<()> {
    let Forecast { unreferenced, dereferenced, quarantined, expired, objects } = forecast;
    console.tell(&json!({ "forecast": forecast }))?;
    console.say(format_args!(
        "To be put into quarantine: {unreferenced} that no record came to refer to,\n\
         and {dereferenced} that lost their last reference.\n\
         In quarantine: {quarantined}, of which {expired} are to be given up for good.\n\
         Given up before, with their bytes still there: {objects}."
    ))
}
