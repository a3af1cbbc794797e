//! `pds-worker repo rebuild`.

use anyhow::Context as _;
use atproto::syntax::Did;
use clap::Args;
use common::clock::Clock;
use common::config::Config;
use common::keys::{KeyVault, Keys};
use common::repo::{Losses, RebuildError, Rebuilder, Rebuilt, Report, Verifier};
use serde::Serialize;

use super::super::console::{self, Console};
use super::super::{Outcome, database};
use super::print;

/// One for the check or the rebuild, one for the key.
const CONNECTIONS: u32 = 2;

/// Which repo to mend, and how far to go.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Arguments {
    /// The account whose repository it is.
    #[arg(long)]
    did: Did,
    /// Only say what is wrong, and what would be lost.
    #[arg(long)]
    dry_run: bool,
    /// Delete the records that are damaged, and let go of those that are missing.
    #[arg(long)]
    drop_damaged: bool,
    /// Also sign a sound repository anew, and announce it: for readers that have lost track of it.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print JSON: an object with what was found, then one with what was done.
    #[arg(long)]
    json: bool,
}

/// A [`Rebuilt`] for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RebuiltLine<'a> {
    did: &'a str,
    rebuilt: bool,
    commit: String,
    rev: String,
    seq: Option<i64>,
    records: u64,
    nodes_written: u64,
    nodes_deleted: u64,
    links_mended: u64,
    blobs_mended: u64,
    records_dropped: u64,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let console = Console::new(arguments.json);
    let config = Config::from_env()?;
    let pool = database::open_at(config.database.clone(), "repo rebuild", CONNECTIONS).await?;
    let verifier = Verifier::new(pool.clone());
    let did = &arguments.did;
    let repo = verifier.find(did).await?.with_context(|| format!("{did} has no repository here"))?;
    let report = verifier.verify(&repo).await?.with_context(|| format!("the repository of {did} is gone"))?;
    print::report(&report, console)?;
    if let Some(outcome) = without_rebuild(&arguments, &report, console)? {
        return Ok(outcome);
    }
    if !arguments.yes && !console::confirm(&question(did, &report))? {
        console.say("Nothing was changed.")?;
        return Ok(Outcome::Damaged);
    }
    let vault = KeyVault::from_config(&config.secrets);
    let rebuilder = Rebuilder::new(pool.clone(), Keys::new(pool, vault), Clock::system());
    let losses = if arguments.drop_damaged { Losses::Accept } else { Losses::Refuse };
    match rebuilder.rebuild(&report, losses).await {
        Ok(rebuilt) => {
            print_rebuilt(did, &rebuilt, console)?;
            Ok(Outcome::Sound)
        }
        // Damaged while we looked.
        Err(RebuildError::Losses(report)) => {
            print::report(&report, console)?;
            refuse(&report, console)
        }
        Err(error) => Err(error).with_context(|| format!("cannot rebuild the repository of {did}")),
    }
}

/// What comes of it without changing anything, if that is all.
fn without_rebuild(arguments: &Arguments, report: &Report, console: Console) -> anyhow::Result<Option<Outcome>> {
    let losses = report.findings.losses();
    if report.findings.is_empty() && !arguments.force {
        console.say("Nothing to do. (--force signs and announces it all the same.)")?;
        return Ok(Some(Outcome::Sound));
    }
    if arguments.dry_run {
        match losses {
            0 => console.say("A rebuild would lose no record.")?,
            _ => console.say(format_args!(
                "A rebuild would lose {losses} records: those named above as damaged or not stored."
            ))?,
        }
        return Ok(Some(if report.findings.is_empty() { Outcome::Sound } else { Outcome::Damaged }));
    }
    if losses > 0 && !arguments.drop_damaged {
        return refuse(report, console).map(Some);
    }
    Ok(None)
}

fn refuse(report: &Report, console: Console) -> anyhow::Result<Outcome> {
    let losses = report.findings.losses();
    if console.is_json() {
        return Ok(Outcome::Damaged);
    }
    console.say(format_args!(
        "Nothing was changed: {losses} records are damaged or not stored, and a rebuild would make that final.\n\
         If a backup has them, bring them back first. If not, --drop-damaged goes on without them."
    ))?;
    Ok(Outcome::Damaged)
}

fn question(did: &Did, report: &Report) -> String {
    match report.findings.losses() {
        0 => format!("Rebuild the repository of {did}, sign it anew and announce it to the network?"),
        losses => format!("Rebuild the repository of {did}, LOSE {losses} RECORDS, and announce it to the network?"),
    }
}

fn print_rebuilt(did: &Did, rebuilt: &Rebuilt, console: Console) -> anyhow::Result<()> {
    let &Rebuilt { commit, seq, records, nodes_written, nodes_deleted, links_mended, blobs_mended, records_dropped } =
        rebuilt;
    console.tell(&RebuiltLine {
        did: did.as_str(),
        rebuilt: true,
        commit: commit.cid.to_string(),
        rev: commit.rev.to_string(),
        seq,
        records,
        nodes_written,
        nodes_deleted,
        links_mended,
        blobs_mended,
        records_dropped,
    })?;
    let announced = match seq {
        Some(seq) => format!("announced as #sync with seq {seq}"),
        None => "not announced: the account is inactive".to_owned(),
    };
    console.say(format_args!(
        "{did} was rebuilt: {records} records ({records_dropped} dropped), {nodes_written} tree nodes written, \
         {nodes_deleted} deleted, {links_mended} links and {blobs_mended} references to blobs mended.\n\
         Its commit is {} with the rev {}, {announced}.",
        commit.cid, commit.rev,
    ))
}
