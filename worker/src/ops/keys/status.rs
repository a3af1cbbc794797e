//! `pds-worker keys status`.

use anyhow::Context as _;
use clap::Args;
use common::keys::KeyCount;
use serde::Serialize;

use super::super::Outcome;
use super::super::console::Console;

/// How to show it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print JSON: one object a key-encryption key.
    #[arg(long)]
    json: bool,
}

/// A [`KeyCount`] for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountLine<'a> {
    key_id: &'a str,
    keys: i64,
    state: &'static str,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let rewrapper = super::rewrapper("keys status").await?;
    let counts = rewrapper.count().await.context("cannot count the keys")?;
    for count in &counts {
        let (key_id, state) = (count.key_id.as_str(), state(count));
        console.tell(&CountLine { key_id, keys: count.keys, state })?;
        console.say(format_args!("{key_id}  {state:<8} {:>12} keys", count.keys))?;
    }
    if counts.iter().all(|count| count.is_known) {
        return Ok(Outcome::Sound);
    }
    console.say("! a key-encryption key is missing: what it sealed cannot be opened, and its accounts cannot write")?;
    Ok(Outcome::Damaged)
}

/// What the key-encryption key is to the server.
fn state(count: &KeyCount) -> &'static str {
    match (count.is_current, count.is_known) {
        (true, _) => "current",
        (false, true) => "previous",
        (false, false) => "missing",
    }
}
