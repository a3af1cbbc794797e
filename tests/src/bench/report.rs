//! The figures, for people and as JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::compare::{self, Comparison};
use crate::goal;
use crate::row::Row;

/// All figures of a run. As JSON it is what `--json` writes.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    servers: Vec<Server>,
    /// The first server against the second, if there are two.
    comparisons: Vec<Comparison>,
}

/// The figures of one server.
#[derive(Debug, Serialize)]
pub(crate) struct Server {
    /// What it is called.
    pub(crate) name: String,
    /// A row for each thing that was measured.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// The report of one or two servers.
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        let comparisons = match &servers[..] {
            [first, second] => compare::compare(&first.rows, &second.rows),
            _ => Vec::new(),
        };
        Self { servers, comparisons }
    }

    /// The tables; goals are those of the first server.
    pub(crate) fn text(&self, with_goals: bool) -> String {
        let mut text = String::new();
        for (index, server) in self.servers.iter().enumerate() {
            if self.servers.len() > 1 {
                text.push_str(&server.name);
                text.push_str(":\n");
            }
            text.push_str(&table(&server.rows, with_goals && index == 0));
            text.push('\n');
        }
        if let [first, second] = &self.servers[..] {
            text.push_str(&compare::table(&self.comparisons, [&first.name, &second.name], with_goals));
        }
        text
    }

    /// Writes everything to a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }

    /// What went wrong.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for server in &self.servers {
            for row in server.rows.iter().filter(|row| row.failures > 0) {
                let reason = row.failure.as_deref().unwrap_or_default();
                let text = format!("{}: {}: {} failed; the first: {reason}", server.name, row.name, row.failures);
                failures.push(text);
            }
        }
        failures
    }
}

/// The columns; all but the first and the last are aligned to the right.
const HEADER: [&str; 10] =
    ["scenario", "per second", "p50", "p99", "CPU/op", "of it", "memory", "MB/s", "failed", "goals"];
/// The columns that hold text.
const TEXT: [usize; 3] = [0, 5, 9];

/// The rows as a table for people. Goals are left out where they mean nothing.
fn table(rows: &[Row], with_goals: bool) -> String {
    let mut lines = vec![HEADER.map(str::to_owned)];
    if !with_goals {
        lines[0][9].clear();
    }
    lines.extend(rows.iter().map(|row| cells(row, with_goals)));
    aligned(&lines, &TEXT)
}

/// Lines of cells as text; the columns in `left` are aligned to the left.
pub(crate) fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]], left: &[usize]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if left.contains(&column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row, with_goals: bool) -> [String; 10] {
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), time);
    let programs = row.cpu_by_program.iter().filter(|(_, cpu)| **cpu > 0.0);
    let programs: Vec<String> = programs.map(|(name, cpu)| format!("{name} {}", time(*cpu))).collect();
    let goals = goal::verdicts(row).into_iter().map(|verdict| {
        let sign = if verdict.met { "✓" } else { "✗" };
        format!("{sign} {}", verdict.text)
    });
    [
        row.name.clone(),
        format!("{} {}s", number(row.rate), row.unit),
        shown(row.p50),
        shown(row.p99),
        shown(row.cpu),
        programs.join(", "),
        row.memory.map_or_else(|| "-".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
        row.megabytes_per_second.map(number).unwrap_or_default(),
        row.failures.to_string(),
        if with_goals { goals.collect::<Vec<_>>().join(", ") } else { String::new() },
    ]
}

/// A time given in milliseconds, with three digits.
pub(crate) fn time(millis: f64) -> String {
    if millis < 0.1 { format!("{} µs", number(millis * 1000.0)) } else { format!("{} ms", number(millis)) }
}

/// A number with three digits, or without decimals where it is larger.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([1234.5, 99.96, 12.34, 1.234, 0.05].map(number), ["1234", "100", "12.3", "1.23", "0.05"]);
        assert_eq!(time(0.0256), "25.6 µs");
        assert_eq!(time(2.5), "2.50 ms");
    }

    #[test]
    fn columns_are_aligned() {
        let lines = [["a".to_owned(), "1".to_owned()], ["bc".to_owned(), "µ10".to_owned()]];
        assert_eq!(aligned(&lines, &[0]), "a     1\nbc  µ10\n");
    }
}
