//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use crate::measure::Plan;
use crate::scenario::Scenario;
use crate::session::Scale;

/// Rounds of a comparison, unless told otherwise: the smallest number that has a median.
const COMPARED_ROUNDS: usize = 3;

/// Measures what work costs a PDS.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Arguments {
    /// Measure the server at this URL instead of starting Rookery. It gets many accounts: use one of your own.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// A process of that server, if it is on this machine; its descendants are counted too. May be given several times.
    #[arg(long, value_name = "PID", requires = "url")]
    pub(crate) server_pid: Vec<u32>,
    /// Compare with the server at this URL.
    #[arg(long, value_name = "URL", conflicts_with = "reference")]
    pub(crate) compare_url: Option<String>,
    /// A process of the server to compare with. May be given several times.
    #[arg(long, value_name = "PID", requires = "compare_url")]
    pub(crate) compare_pid: Vec<u32>,
    /// Compare with the reference server that is installed in this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: Option<PathBuf>,
    /// How often each scenario is measured; the median counts. 3 when comparing, else 1.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=99))]
    rounds: Option<u8>,
    /// For servers that want one at sign-up; it must have enough uses.
    #[arg(long, value_name = "CODE")]
    pub(crate) invite_code: Option<String>,
    /// Measure only this. May be given several times.
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// How long each scenario is measured.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Only see that everything works: little data, half a second each.
    #[arg(long)]
    quick: bool,
    /// Let Rookery count rate limits, in its Redis, of which there are more than anybody uses.
    #[arg(long, conflicts_with = "url")]
    pub(crate) rate_limits: bool,
    /// Write all figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not between 0.1 and 3600".to_owned()),
    }
}

impl Arguments {
    /// How big the scenarios are.
    pub(crate) fn scale(&self) -> Scale {
        let window = Duration::from_secs_f64(if self.quick { 0.5 } else { self.seconds });
        Scale { plan: Plan { warm_up: window / 4, window }, quick: self.quick }
    }

    /// What to measure on this many servers.
    pub(crate) fn scenarios(&self, servers: usize) -> Vec<Scenario> {
        if !self.only.is_empty() {
            return self.only.clone();
        }
        let all = Scenario::value_variants().iter().copied();
        all.filter(|scenario| servers == 1 || scenario.is_comparable()).collect()
    }

    /// How often, on this many servers.
    pub(crate) fn rounds(&self, servers: usize) -> usize {
        self.rounds.map_or(if servers > 1 { COMPARED_ROUNDS } else { 1 }, usize::from)
    }

    /// Whether Rookery's goals apply.
    pub(crate) fn has_goals(&self) -> bool {
        self.url.is_none() && !self.quick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["bench"][..], arguments].concat()).unwrap()
    }

    #[test]
    fn a_comparison_has_rounds_and_leaves_out_what_takes_too_long() {
        let arguments = parsed(&[]);
        assert_eq!((arguments.rounds(1), arguments.rounds(2)), (1, 3));
        assert!(arguments.scenarios(1).contains(&Scenario::Import));
        assert!(!arguments.scenarios(2).contains(&Scenario::Import));
        let arguments = parsed(&["--only", "import", "--rounds", "2"]);
        assert_eq!((arguments.scenarios(2), arguments.rounds(2)), (vec![Scenario::Import], 2));
    }

    #[test]
    fn a_process_belongs_to_a_url() {
        assert!(Arguments::try_parse_from(["bench", "--server-pid", "1"]).is_err());
        assert!(Arguments::try_parse_from(["bench", "--seconds", "0"]).is_err());
    }
}
