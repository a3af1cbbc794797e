//! `pds-worker keys rewrap`.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use common::keys::Unopened;
use serde::Serialize;
use tokio::time::Instant;

use super::super::Outcome;
use super::super::console::{self, Console};

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// How to do it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Keys to look at in one statement.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// Print JSON: one object a key that could not be opened, then one for the whole.
    #[arg(long)]
    json: bool,
}

/// A key that stays as it is, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnopenedLine<'a> {
    did: &'a str,
    key_id: &'a str,
    error: String,
}

/// What all batches together came to.
#[derive(Serialize, Default)]
struct Totals {
    resealed: u64,
    unopened: u64,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let mut rewrapper = super::rewrapper("keys rewrap").await?;
    let counts = rewrapper.count().await.context("cannot count the keys")?;
    let expected: i64 = counts.iter().filter(|count| !count.is_current).map(|count| count.keys).sum();
    console::progress(format_args!("{expected} keys to seal anew"));
    let (mut totals, mut said) = (Totals::default(), Instant::now());
    while let Some(batch) = rewrapper.next(arguments.batch).await.context("the database went away; run it again")? {
        totals.resealed += batch.resealed;
        for key in &batch.unopened {
            totals.unopened += 1;
            print_unopened(key, console)?;
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            console::progress(format_args!("{} of {expected} sealed anew", totals.resealed));
        }
    }
    console.tell(&totals)?;
    console.say(format_args!("{} keys sealed anew; {} could not be opened", totals.resealed, totals.unopened))?;
    Ok(if totals.unopened == 0 { Outcome::Sound } else { Outcome::Damaged })
}

fn print_unopened(Unopened { did, key_id, error }: &Unopened, console: Console) -> anyhow::Result<()> {
    console.tell(&UnopenedLine { did: did.as_str(), key_id: key_id.as_str(), error: error.to_string() })?;
    console.say(format_args!("{did}: {error}"))
}
