//! `pds-worker blob orphans`.

use std::time::Duration;

use anyhow::Context as _;
use chrono::SecondsFormat;
use clap::Args;
use common::blob::{Listed, Orphans};
use common::clock::Clock;
use futures_util::TryStreamExt as _;
use serde::Serialize;
use serde_json::json;

use super::super::Outcome;
use super::super::console::{self, Console};

/// One is enough: pages come one after the other.
const CONNECTIONS: u32 = 1;
/// Progress is said after so many objects.
const PROGRESS: u64 = 100_000;

/// What to do with them.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Have them deleted by the workers, some minutes later at the earliest.
    ///
    /// Do not, while accounts are being moved here whose objects are in the store already.
    #[arg(long)]
    delete: bool,
    /// Only those that were written so many hours ago: an upload may be on its way.
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    older_than: u32,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print JSON: one object an orphan, then one for the whole.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Totals {
    objects: u64,
    orphans: u64,
    bytes: u64,
    foreign: u64,
    deleting: u64,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let (_, pool, objects) = super::open("blob orphans", CONNECTIONS).await?;
    let question = "Delete the objects that no blob in this database has?";
    if arguments.delete && !arguments.yes && !console::confirm(question)? {
        console.say("Nothing was changed.")?;
        return Ok(Outcome::Damaged);
    }
    let totals = look(&Orphans::new(pool, objects), arguments, console).await?;
    totals.print(arguments.delete, console)?;
    Ok(if totals.orphans == 0 || arguments.delete { Outcome::Sound } else { Outcome::Damaged })
}

async fn look(orphans: &Orphans, arguments: &Arguments, console: Console) -> anyhow::Result<Totals> {
    let before = Clock::system().now() - Duration::from_hours(arguments.older_than.into());
    let (mut totals, mut pages) = (Totals::default(), orphans.pages());
    while let Some(page) = pages.try_next().await.context("cannot list the objects")? {
        let known = totals.objects / PROGRESS;
        totals.objects += page.objects.len() as u64;
        totals.foreign += page.foreign;
        if totals.objects / PROGRESS > known {
            console::progress(format_args!("{} objects looked at, {} orphans", totals.objects, totals.orphans));
        }
        let found = orphans.find(page, before).await.context("cannot look for the objects' blobs")?;
        for object in &found {
            totals.orphans += 1;
            totals.bytes += object.size;
            print(object, console)?;
        }
        if arguments.delete {
            totals.deleting += orphans.give_up(&found).await.context("cannot have them deleted")?;
        }
    }
    Ok(totals)
}

fn print(object: &Listed, console: Console) -> anyhow::Result<()> {
    let Listed { did, cid, size, modified } = object;
    console.tell(&json!({ "did": did, "cid": cid.to_string(), "size": size, "modified": modified }))?;
    let time = modified.to_rfc3339_opts(SecondsFormat::Secs, true);
    console.say(format_args!("{did}/{cid}  {size} bytes, written {time}"))
}

impl Totals {
    fn print(&self, delete: bool, console: Console) -> anyhow::Result<()> {
        console.tell(self)?;
        let Self { objects, orphans, bytes, foreign, deleting } = self;
        console.say(format_args!("{objects} objects looked at: {orphans} orphans ({bytes} bytes)"))?;
        if *foreign > 0 {
            console.say(format_args!("{foreign} things lie between them that are no objects of ours; they stay"))?;
        }
        if delete {
            console.say(format_args!("{deleting} will be deleted by the workers"))?;
        }
        Ok(())
    }
}
