//! `pds-worker repo verify`.

use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use atproto::syntax::Did;
use clap::Args;
use common::db::{self, AccountId};
use common::repo::{RepoRef, Report, Verifier};
use futures_util::TryStreamExt as _;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::time::{Instant, interval_at};

use super::super::console::{self, Console};
use super::super::{Outcome, database};
use super::print;

/// Repos listed at a time.
const PAGE: u16 = 500;
/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Which repos to check, and how.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["did", "all"]))]
pub struct Arguments {
    /// Check the repository of this account.
    #[arg(long)]
    did: Option<Did>,
    /// Check all repositories, in the order in which their accounts were made.
    #[arg(long)]
    all: bool,
    /// Repositories to check at a time; each takes one connection to the database.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Print JSON: one object a damaged repository, then one for the whole.
    #[arg(long)]
    json: bool,
}

/// What all repos together came to.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Totals {
    checked: u64,
    damaged: u64,
    unchecked: u64,
    records: u64,
    nodes: u64,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let pool = database::open("repo verify", u32::from(arguments.jobs) + 1).await?;
    let verifier = Verifier::new(pool);
    let totals = match &arguments.did {
        Some(did) => one(&verifier, did, console).await?,
        None => all(&verifier, usize::from(arguments.jobs), console).await?,
    };
    Ok(match totals {
        Totals { damaged: 1.., .. } => Outcome::Damaged,
        Totals { unchecked: 1.., .. } => Outcome::Unchecked,
        _ => Outcome::Sound,
    })
}

async fn one(verifier: &Verifier, did: &Did, console: Console) -> anyhow::Result<Totals> {
    let repo = verifier.find(did).await?.with_context(|| format!("{did} has no repository here"))?;
    let report = verifier.verify(&repo).await?.with_context(|| format!("the repository of {did} is gone"))?;
    print::report(&report, console)?;
    let mut totals = Totals::default();
    totals.add(&report);
    console.tell(&totals)?;
    Ok(totals)
}

async fn all(verifier: &Verifier, jobs: usize, console: Console) -> anyhow::Result<Totals> {
    let expected = verifier.count().await?;
    console::progress(format_args!("checking {expected} repositories, {jobs} at a time"));
    let check = async |repo: RepoRef| {
        let report = verifier.verify(&repo).await;
        anyhow::Ok((repo, report))
    };
    let mut checks = pin!(repos(verifier).map_ok(check).try_buffered(jobs));
    let mut ticks = interval_at(Instant::now() + PROGRESS, PROGRESS);
    let mut totals = Totals::default();
    loop {
        let next = tokio::select! {
            next = checks.try_next() => next?,
            _ = ticks.tick() => {
                console::progress(format_args!("{} of {expected} checked, {} damaged", totals.checked, totals.damaged));
                continue;
            }
        };
        let Some((repo, report)) = next else { break };
        match report {
            Ok(Some(report)) => {
                totals.add(&report);
                if !report.findings.is_empty() {
                    print::report(&report, console)?;
                }
            }
            // Deleted since it was listed.
            Ok(None) => {}
            Err(error) if db::is_outage(&error) => return Err(error).context("the database went away"),
            Err(error) => {
                totals.unchecked += 1;
                console::progress(format_args!("{} could not be checked: {error}", repo.did));
            }
        }
    }
    totals.print(console)?;
    Ok(totals)
}

/// All repos, in the order of their accounts.
fn repos(verifier: &Verifier) -> impl Stream<Item = anyhow::Result<RepoRef>> {
    let pages = stream::try_unfold(Some(None::<AccountId>), async |after| {
        let Some(after) = after else { return Ok(None) };
        let page = verifier.list(after, PAGE).await.context("cannot list the repositories")?;
        let next = page.last().map(|last| Some(last.account));
        anyhow::Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
    });
    pages.try_flatten()
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.checked += 1;
        self.damaged += u64::from(!report.findings.is_empty());
        self.records += report.records;
        self.nodes += report.nodes;
    }

    fn print(&self, console: Console) -> anyhow::Result<()> {
        let Self { checked, damaged, unchecked, records, nodes } = self;
        console.say(format_args!(
            "{checked} repositories checked ({records} records, {nodes} tree nodes): {} sound, {damaged} damaged{}",
            checked - damaged,
            if *unchecked == 0 { String::new() } else { format!("; {unchecked} could not be checked") },
        ))?;
        console.tell(self)
    }
}
