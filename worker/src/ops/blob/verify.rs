//! `pds-worker blob verify`.

use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use atproto::syntax::Did;
use clap::Args;
use common::blob::{BlobChecker, BlobError, CheckedBlob, Condition};
use common::db;
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, interval_at, sleep_until};

use super::super::Outcome;
use super::super::console::{self, Console};

/// Blobs listed at a time.
const PAGE: u16 = 500;
/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Which blobs to check, and how fast.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["did", "all", "sample"]))]
pub struct Arguments {
    /// Check the blobs of this account.
    #[arg(long)]
    did: Option<Did>,
    /// Check all blobs.
    #[arg(long)]
    all: bool,
    /// Check so many, chosen at random.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Blobs to read at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Read no faster than so many megabytes a second.
    #[arg(long, value_name = "MEGABYTES", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pace: u32,
    /// Have the workers put out of use what is exposed.
    #[arg(long)]
    repair: bool,
    /// Print JSON: one object a damaged blob, then one for the whole.
    #[arg(long)]
    json: bool,
}

/// What all blobs together came to.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Totals {
    checked: u64,
    bytes: u64,
    missing: u64,
    corrupt: u64,
    exposed: u64,
    unchecked: u64,
}

/// Holds reading back.
struct Pace {
    started: Instant,
    bytes_per_second: f64,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let connections = u32::from(arguments.jobs) + 1;
    let (_, pool, objects) = super::open("blob verify", connections).await?;
    let checker = BlobChecker::new(pool, objects);
    let totals = check(&checker, &arguments, console).await?;
    totals.print(console)?;
    Ok(match totals {
        Totals { missing: 1.., .. } | Totals { corrupt: 1.., .. } | Totals { exposed: 1.., .. } => Outcome::Damaged,
        Totals { unchecked: 1.., .. } => Outcome::Unchecked,
        _ => Outcome::Sound,
    })
}

async fn check(checker: &BlobChecker, arguments: &Arguments, console: Console) -> anyhow::Result<Totals> {
    let check = async |blob: CheckedBlob| {
        let found = checker.check(&blob).await;
        anyhow::Ok((blob, found))
    };
    let jobs = usize::from(arguments.jobs);
    let mut checks = pin!(blobs(checker, arguments).map_ok(check).try_buffer_unordered(jobs));
    let mut ticks = interval_at(Instant::now() + PROGRESS, PROGRESS);
    let pace = Pace::new(arguments.pace);
    let mut totals = Totals::default();
    loop {
        let next = tokio::select! {
            next = checks.try_next() => next?,
            _ = ticks.tick() => {
                console::progress(format_args!("{} blobs checked, {} damaged", totals.checked, totals.damaged()));
                continue;
            }
        };
        let Some((blob, found)) = next else { return Ok(totals) };
        match found {
            Ok(found) => {
                totals.add(&blob, found, console)?;
                if arguments.repair && found == Some(Condition::Exposed) {
                    checker.put_out_of_use(&blob).await.context("cannot have a blob put out of use")?;
                }
            }
            Err(BlobError::Storage(error)) if db::is_outage(&error) => {
                return Err(error).context("the database went away");
            }
            Err(error) => {
                totals.unchecked += 1;
                let error = anyhow::Error::from(error);
                console::progress(format_args!("{}/{} could not be read: {error:#}", blob.did, blob.cid));
            }
        }
        pace.hold_back(totals.bytes).await;
    }
}

fn blobs<'a>(
    checker: &'a BlobChecker,
    arguments: &'a Arguments,
) -> impl Stream<Item = anyhow::Result<CheckedBlob>> + use<'a> {
    match arguments.sample {
        Some(count) => some(checker, count).left_stream(),
        None => all(checker, arguments.did.as_ref()).right_stream(),
    }
}

/// Blobs chosen at random; the same one may be among them twice.
fn some(checker: &BlobChecker, count: u32) -> impl Stream<Item = anyhow::Result<CheckedBlob>> {
    let picks = stream::iter(0..count).then(async |_| checker.pick().await.context("cannot choose a blob"));
    picks.try_filter_map(async |found| Ok(found))
}

/// All blobs, or those of one account.
fn all<'a>(
    checker: &'a BlobChecker,
    did: Option<&'a Did>,
) -> impl Stream<Item = anyhow::Result<CheckedBlob>> + use<'a> {
    let pages = stream::try_unfold(None, move |after: Option<CheckedBlob>| async move {
        let page = checker.list(did, after.as_ref(), PAGE).await.context("cannot list the blobs")?;
        let last = page.last().cloned();
        anyhow::Ok(last.map(|last| (stream::iter(page.into_iter().map(Ok)), Some(last))))
    });
    pages.try_flatten()
}

impl Totals {
    fn damaged(&self) -> u64 {
        self.missing + self.corrupt + self.exposed
    }

    fn add(&mut self, blob: &CheckedBlob, found: Option<Condition>, console: Console) -> anyhow::Result<()> {
        // Else it was deleted since it was listed.
        let Some(condition) = found else { return Ok(()) };
        self.checked += 1;
        let (name, text) = match condition {
            Condition::Sound => {
                self.bytes += blob.size;
                return Ok(());
            }
            Condition::Missing => {
                self.missing += 1;
                ("missing", "MISSING".to_owned())
            }
            Condition::Corrupt { found, size } => {
                self.corrupt += 1;
                self.bytes += size;
                ("corrupt", format!("CORRUPT: {size} bytes with the CID {found}"))
            }
            Condition::Exposed => {
                self.exposed += 1;
                ("exposed", "EXPOSED: taken down, but where readers look".to_owned())
            }
        };
        let CheckedBlob { did, cid, .. } = blob;
        console.tell(&json!({ "did": did, "cid": cid.to_string(), "condition": name }))?;
        console.say(format_args!("{did} {cid} is {text}"))
    }

    fn print(&self, console: Console) -> anyhow::Result<()> {
        console.tell(self)?;
        let Self { checked, bytes, missing, corrupt, exposed, unchecked } = self;
        let sound = checked - self.damaged();
        console.say(format_args!(
            "{checked} blobs checked ({bytes} bytes): {sound} sound, {missing} missing, {corrupt} corrupt, \
             {exposed} exposed{}",
            if *unchecked == 0 { String::new() } else { format!("; {unchecked} could not be read") },
        ))
    }
}

impl Pace {
    fn new(megabytes_per_second: u32) -> Self {
        Self { started: Instant::now(), bytes_per_second: f64::from(megabytes_per_second) * 1e6 }
    }

    /// Waits until so many bytes may have been read.
    async fn hold_back(&self, bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a pace need not be exact")]
        let due = bytes as f64 / self.bytes_per_second;
        sleep_until(self.started + Duration::from_secs_f64(due)).await;
    }
}
