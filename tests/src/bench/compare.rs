//! Two servers beside each other.
//!
//! Machines are not equally fast from minute to minute, so the servers are measured in turns: each scenario several
//! times, first the one and then the other, and the next time the other way round. For each server the round with the
//! median CPU time counts.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::goal;
use crate::report::{aligned, number, time};
use crate::row::Row;
use crate::scenario::Scenario;
use crate::session::Session;

/// The columns; all but the first and the last are aligned to the right.
const HEADER: [&str; 6] = ["scenario", "CPU/op", "CPU/op", "times the CPU", "times the rate", "goal"];
/// The columns that hold text.
const TEXT: [usize; 2] = [0, 5];

/// One scenario of two servers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// The row's name.
    pub(crate) name: String,
    /// How many times the first server's CPU time per operation the second one needs.
    pub(crate) cpu: Option<f64>,
    /// How many times as fast the first server is.
    pub(crate) rate: Option<f64>,
    #[serde(skip)]
    cpus: [Option<f64>; 2],
}

/// Measures `scenario` on both servers, `rounds` times in turns; gives the rows of each.
///
/// # Errors
/// It cannot be prepared on one of them.
pub(crate) async fn alternate(scenario: Scenario, sessions: &mut [Session], rounds: usize) -> Result<Vec<Vec<Row>>> {
    let mut found: Vec<Vec<Vec<Row>>> = sessions.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..sessions.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for server in order {
            let session = &mut sessions[server];
            session.progress.begin(&format!("{} of {}", scenario.name(), session.target.name));
            found[server].push(scenario.run(session).await.with_context(|| scenario.name())?);
        }
    }
    Ok(found.into_iter().map(medians).collect())
}

/// Of each row that the rounds have, the one with the median CPU time, with the failures of all.
fn medians(rounds: Vec<Vec<Row>>) -> Vec<Row> {
    let names: Vec<String> = rounds.first().into_iter().flatten().map(|row| row.name.clone()).collect();
    let all: Vec<Row> = rounds.into_iter().flatten().collect();
    let of_name = names.iter().filter_map(|name| {
        let mut rows: Vec<Row> = all.iter().filter(|row| row.name == *name).cloned().collect();
        let failures = rows.iter().map(|row| row.failures).sum();
        let failure = rows.iter().find_map(|row| row.failure.clone());
        // Without CPU times the rate decides.
        let key = |row: &Row| row.cpu.unwrap_or(-row.rate);
        rows.sort_by(|left, right| key(left).total_cmp(&key(right)));
        let median = rows.get(rows.len() / 2)?.clone();
        Some(Row { failures, failure, ..median })
    });
    of_name.collect()
}

/// Sets the rows of two servers against each other.
pub(crate) fn compare(first: &[Row], second: &[Row]) -> Vec<Comparison> {
    let pairs = first.iter().filter_map(|row| Some((row, second.iter().find(|other| other.name == row.name)?)));
    let comparisons = pairs.map(|(row, other)| Comparison {
        name: row.name.clone(),
        cpu: row.cpu.zip(other.cpu).filter(|(own, _)| *own > 0.0).map(|(own, other)| other / own),
        rate: Some(row.rate / other.rate).filter(|ratio| ratio.is_finite()),
        cpus: [row.cpu, other.cpu],
    });
    comparisons.collect()
}

/// The comparisons as a table for people; `names` are the servers'.
pub(crate) fn table(comparisons: &[Comparison], names: [&str; 2], with_goals: bool) -> String {
    let mut header = HEADER.map(str::to_owned);
    for (cell, name) in header[1..].iter_mut().zip(names) {
        *cell = format!("{cell} of {name}");
    }
    let lines = comparisons.iter().map(|comparison| {
        let [own, other] = comparison.cpus.map(|cpu| cpu.map_or_else(|| "-".to_owned(), time));
        let [cpu, rate] = [comparison.cpu, comparison.rate].map(|ratio| ratio.map_or_else(|| "-".to_owned(), number));
        let goal = goal::ratio(&comparison.name).filter(|_| with_goals).map(|goal| {
            let sign = if comparison.cpu.is_some_and(|ratio| ratio >= goal) { "✓" } else { "✗" };
            format!("{sign} ≥ {goal} times the CPU")
        });
        [comparison.name.clone(), own, other, cpu, rate, goal.unwrap_or_default()]
    });
    aligned(&std::iter::once(header).chain(lines).collect::<Vec<_>>(), &TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, cpu: f64, failures: u64) -> Row {
        Row { cpu: Some(cpu), rate: 1.0, failures, ..Row::default() }.named(name)
    }

    #[test]
    fn the_median_round_counts_and_no_failure_is_lost() {
        let rounds = vec![
            vec![row("a", 3.0, 0), row("b", 1.0, 0)],
            vec![row("a", 1.0, 2), row("b", 1.0, 0)],
            vec![row("a", 2.0, 0), row("b", 1.0, 0)],
        ];
        let rows = medians(rounds);
        assert_eq!(
            rows.iter().map(|row| (row.cpu, row.failures)).collect::<Vec<_>>(),
            [(Some(2.0), 2), (Some(1.0), 0)]
        );
    }

    #[test]
    fn ratios_are_those_of_the_same_scenario() {
        let first = [row("a", 0.5, 0), row("only here", 1.0, 0)];
        let second = [row("only there", 1.0, 0), row("a", 10.0, 0)];
        let comparisons = compare(&first, &second);
        assert_eq!(comparisons.iter().map(|it| (it.name.as_str(), it.cpu)).collect::<Vec<_>>(), [("a", Some(20.0))]);
    }
}
