//! `pds-worker blob restore`.

use anyhow::Context as _;
use atproto::data::Cid;
use atproto::syntax::Did;
use chrono::SecondsFormat;
use clap::Args;
use common::blob::{Blobs, Objects, Quarantined};
use serde_json::json;

use super::super::Outcome;
use super::super::console::Console;
use super::super::office::Office;
use crate::services;

/// Blobs that are read at once.
const PAGE: u16 = 500;

/// Which blobs.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["cids", "all", "list"]))]
pub struct Arguments {
    /// The account whose blobs they are.
    #[arg(long)]
    did: Did,
    /// These blobs.
    #[arg(value_name = "CID")]
    cids: Vec<Cid>,
    /// All that are in quarantine.
    #[arg(long)]
    all: bool,
    /// Only list what is in quarantine.
    #[arg(long)]
    list: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let office = Office::open("blob restore").await?;
    let blobs = services::blobs(Objects::from_config(&office.config.blobstore), &office.pool);
    let did = &arguments.did;
    if arguments.list {
        walk(&blobs, did, async |blob| print(&blob, console)).await?;
        return Ok(Outcome::Sound);
    }
    let mut outcome = Outcome::Sound;
    let restore = async |cid: Cid| {
        let is_kept = blobs.keep(&office.actor, did, cid).await.with_context(|| format!("{cid} was not restored"))?;
        console.tell(&json!({ "did": did, "cid": cid.to_string(), "restored": is_kept }))?;
        console.say(if is_kept { format!("{cid} was restored") } else { format!("{cid} is NOT in quarantine") })?;
        anyhow::Ok(is_kept)
    };
    if arguments.all {
        walk(&blobs, did, async |blob| restore(blob.cid).await.map(drop)).await?;
    }
    for cid in arguments.cids {
        if !restore(cid).await? {
            outcome = Outcome::Damaged;
        }
    }
    Ok(outcome)
}

/// Goes through what is in quarantine.
async fn walk(
    blobs: &Blobs,
    did: &Did,
    mut visit: impl AsyncFnMut(Quarantined) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = blobs.list_quarantined(did, after, PAGE).await.context("cannot read what is in quarantine")?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.cid);
        for blob in page {
            visit(blob).await?;
        }
    }
}

fn print(blob: &Quarantined, console: Console) -> anyhow::Result<()> {
    let Quarantined { cid, size, delete_after } = blob;
    console.tell(&json!({ "cid": cid.to_string(), "size": size, "deleteAfter": delete_after }))?;
    let time = delete_after.to_rfc3339_opts(SecondsFormat::Secs, true);
    console.say(format_args!("{cid}  {size:>10} bytes, until {time}"))
}
