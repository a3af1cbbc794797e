//! `pds-worker sequencer bump`.

use anyhow::Context as _;
use clap::Args;
use common::sequencer::admin::{Admin, Ahead, Moved};

use super::super::console::Console;
use super::super::{Outcome, database};

/// How far to go.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["by", "to"]))]
pub struct Arguments {
    /// Leave out so many numbers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    by: Option<i64>,
    /// Let the next event have the number after this one, such as the cursor of a relay that is ahead of the server.
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn ahead(&self) -> Option<Ahead> {
        self.by.map(Ahead::By).or(self.to.map(Ahead::To))
    }
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let ahead = arguments.ahead().context("neither --by nor --to")?;
    let pool = database::open("sequencer bump", 1).await?;
    let moved = Admin::new(pool).move_ahead(ahead).await.context("the number was not moved")?;
    let Moved { before, after } = moved;
    console.tell(&moved)?;
    console.say(format_args!(
        "The newest seq was {before} and is {after} now; the next event has {}.\n\
         Subscribers go on as they are: numbers {} to {after} were left out, which is nothing to them.",
        after + 1,
        before + 1,
    ))?;
    Ok(Outcome::Sound)
}
