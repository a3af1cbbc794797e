//! Printing what a check of a repo found.

use common::repo::{Finding, Report};
use serde::Serialize;

use super::super::console::Console;

/// A [`Report`] for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportLine<'a> {
    did: &'a str,
    sound: bool,
    rev: &'a str,
    records: u64,
    nodes: u64,
    findings: &'a [Finding],
    /// Findings beyond those listed.
    more_findings: u64,
}

/// Prints a report.
pub(super) fn report(report: &Report, console: Console) -> anyhow::Result<()> {
    let (did, findings) = (&report.repo.did, &report.findings);
    let Report { records, nodes, rev, .. } = report;
    console.tell(&ReportLine {
        did: did.as_str(),
        sound: findings.is_empty(),
        rev,
        records: *records,
        nodes: *nodes,
        findings: findings.listed(),
        more_findings: findings.unlisted(),
    })?;
    if findings.is_empty() {
        return console.say(format_args!("{did} is sound: {records} records, {nodes} tree nodes, rev {rev}"));
    }
    let count = findings.count();
    console
        .say(format_args!("{did} is DAMAGED: {count} findings; {records} records, {nodes} tree nodes, rev {rev}"))?;
    for finding in findings.listed() {
        console.say(format_args!("  {finding}"))?;
    }
    if findings.unlisted() > 0 {
        console.say(format_args!("  and {} more", findings.unlisted()))?;
    }
    Ok(())
}
