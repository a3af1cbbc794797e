//! What Rookery aims at, on a machine with two cores that load generator, api and Postgres share.

use crate::row::Row;

/// The goals of one row; none of them decides whether the program succeeds.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Goal {
    row: &'static str,
    /// CPU time per operation in milliseconds, at most.
    cpu: Option<f64>,
    /// Operations a second, at least.
    rate: Option<f64>,
    /// Median in milliseconds, at most.
    p50: Option<f64>,
    /// 99th percentile in milliseconds, at most.
    p99: Option<f64>,
    /// Megabytes a second, at least.
    megabytes: Option<f64>,
    /// How many times the CPU time of the cheapest of several rows the dearest may take.
    growth: Option<f64>,
    /// Bytes by which memory may grow.
    memory: Option<u64>,
    /// How many times the CPU time the reference server needs, at least.
    ratio: Option<f64>,
}

const NONE: Goal = Goal {
    row: "",
    cpu: None,
    rate: None,
    p50: None,
    p99: None,
    megabytes: None,
    growth: None,
    memory: None,
    ratio: None,
};

const GOALS: [Goal; 17] = [
    Goal { row: "create-record", cpu: Some(0.5), rate: Some(1500.0), ratio: Some(25.0), ..NONE },
    Goal { row: "hot-repo", cpu: Some(0.9), rate: Some(300.0), ratio: Some(15.0), ..NONE },
    Goal { row: "apply-writes", cpu: Some(4.0), ratio: Some(50.0), ..NONE },
    Goal { row: "get-record", cpu: Some(0.15), rate: Some(5000.0), ratio: Some(15.0), ..NONE },
    Goal { row: "list-records", cpu: Some(0.4), ratio: Some(8.0), ..NONE },
    Goal { row: "get-repo", cpu: Some(8.0), ratio: Some(12.0), ..NONE },
    Goal { row: "get-repo-large", megabytes: Some(100.0), ..NONE },
    Goal { row: "upload-blob", cpu: Some(4.0), ..NONE },
    // With what a server has without them, less than 200 MB.
    Goal { row: "upload-large", memory: Some(128 << 20), ..NONE },
    Goal { row: "get-blob", cpu: Some(0.6), ..NONE },
    Goal { row: "get-session", cpu: Some(0.12), ratio: Some(10.0), ..NONE },
    Goal { row: "firehose", cpu: Some(0.025), p99: Some(100.0), ..NONE },
    Goal { row: "firehose-idle", p50: Some(15.0), ..NONE },
    Goal { row: "backfill", cpu: Some(0.020), rate: Some(30_000.0), ratio: Some(6.0), ..NONE },
    // 128,000 records in 60 seconds.
    Goal { row: "import", rate: Some(2134.0), memory: Some(256 << 20), ..NONE },
    Goal { row: "growth-100000-records", growth: Some(1.5), ..NONE },
    Goal { row: "growth-100000-accounts", growth: Some(1.5), ..NONE },
];

/// One goal, and whether it is met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    /// The goal in words.
    pub(crate) text: String,
    /// Whether it is met.
    pub(crate) met: bool,
}

/// How `row` compares with its goals.
pub(crate) fn verdicts(row: &Row) -> Vec<Verdict> {
    let Some(goal) = of(&row.name) else { return Vec::new() };
    let at_most = |goal: Option<f64>, found: Option<f64>, what: &str| {
        Some(Verdict { text: format!("{what} ≤ {} ms", goal?), met: found? <= goal? })
    };
    let at_least = |goal: Option<f64>, found: f64, unit: &str| {
        Some(Verdict { text: format!("≥ {} {unit}", goal?), met: found >= goal? })
    };
    let verdicts = [
        at_most(goal.cpu, row.cpu, "CPU"),
        at_least(goal.rate, row.rate, "a second"),
        at_most(goal.p50, row.p50, "p50"),
        at_most(goal.p99, row.p99, "p99"),
        row.megabytes_per_second.and_then(|found| at_least(goal.megabytes, found, "MB/s")),
        goal.growth
            .zip(row.growth)
            .map(|(goal, found)| Verdict {
                text: format!("cost grows {found:.2}-fold, ≤ {goal}"), met: found <= goal
            }),
        goal.memory
            .zip(row.memory_growth)
            .map(|(goal, found)| Verdict { text: format!("memory grows ≤ {} MiB", goal >> 20), met: found <= goal }),
    ];
    verdicts.into_iter().flatten().collect()
}

/// The least ratio of CPU times that is aimed at for the row of this name.
pub(crate) fn ratio(name: &str) -> Option<f64> {
    of(name)?.ratio
}

fn of(name: &str) -> Option<&'static Goal> {
    GOALS.iter().find(|goal| goal.row == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_meets_and_misses_its_goals() {
        let row = Row { rate: 1600.0, cpu: Some(0.6), ..Row::default() }.named("create-record");
        let met: Vec<(String, bool)> = verdicts(&row).into_iter().map(|verdict| (verdict.text, verdict.met)).collect();
        assert_eq!(met, [("CPU ≤ 0.5 ms".to_owned(), false), ("≥ 1500 a second".to_owned(), true)]);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert_eq!(verdicts(&Row::default().named("get-repo")), []);
        assert_eq!(verdicts(&Row::default().named("login")), []);
    }
}
