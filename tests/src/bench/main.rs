//! `bench`: what work costs a Personal Data Server.
//!
//! Without arguments it starts Rookery with a Postgres and Redis of its own, gives it the work of [`scenario`], and prints
//! a table with goals. `--url` measures any other server instead.
//!
//! **CPU time per operation** is the figure that counts, since machines differ: the time of *all* processes of the
//! server ([`processes`]) within a window, divided by the operations completed in it ([`measure`]). The load generator
//! is one thread that sends requests made in advance over kept-alive connections; it shares the machine with the
//! server, but its own time is not counted. So rates and delays are those of a machine that does both.
//!
//! Figures never make the program fail, since machines are not equally fast from hour to hour. Wrong answers do: a
//! request that fails makes the exit status 1.

mod connection;
mod goal;
mod latency;
mod measure;
mod origin;
mod post;
mod processes;
mod progress;
mod report;
mod row;
mod scenario;
mod session;
mod target;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};
use measure::Plan;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use progress::Progress;
use row::Row;
use scenario::Scenario;
use session::{Scale, Session};
use target::Target;

/// Measures what work costs a PDS.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Measure the server at this URL instead of starting Rookery. It gets many accounts: use one of your own.
    #[arg(long)]
    url: Option<String>,
    /// A process of that server, if it is on this machine; its descendants are counted too. May be given several times.
    #[arg(long, requires = "url")]
    server_pid: Vec<u32>,
    /// For a server that wants one at sign-up; it must have enough uses.
    #[arg(long)]
    invite_code: Option<String>,
    /// Measure only this. May be given several times.
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<Scenario>,
    /// How long each scenario is measured.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Only see that everything works: little data, half a second each.
    #[arg(long)]
    quick: bool,
    /// Write all figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not between 0.1 and 3600".to_owned()),
    }
}

impl Arguments {
    fn scale(&self) -> Scale {
        let window = Duration::from_secs_f64(if self.quick { 0.5 } else { self.seconds });
        Scale { plan: Plan { warm_up: window / 4, window }, quick: self.quick }
    }

    fn scenarios(&self) -> Vec<Scenario> {
        if self.only.is_empty() { Scenario::value_variants().to_vec() } else { self.only.clone() }
    }
}

// One thread: it costs the servers on this machine the least, and they are tied to the thread that spawns them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(&Arguments::parse()).await.unwrap_or_else(|error| {
        // If nobody reads the message, there is nobody to tell.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    // Whoever started us may be killed without a chance to stop us.
    set_pdeathsig(Signal::SIGTERM)?;
    let target = match &arguments.url {
        Some(url) => Target::elsewhere(url, &arguments.server_pid)?,
        None => Target::own().await?,
    };
    let scenarios = arguments.scenarios();
    let progress = Arc::new(Progress::new(scenarios.len()));
    let invite_code = arguments.invite_code.clone();
    let mut session = Session::open(target, invite_code, arguments.scale(), Arc::clone(&progress)).await?;
    let mut rows = Vec::new();
    for scenario in scenarios {
        progress.begin(&scenario.name());
        rows.extend(scenario.run(&mut session).await.with_context(|| scenario.name())?);
    }
    progress.finish();
    session.target.stop().await?;
    write!(io::stdout(), "{}", report::table(&rows, arguments.url.is_none()))?;
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(tell_failures(&rows))
}

/// Says what went wrong.
fn tell_failures(rows: &[Row]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for row in rows.iter().filter(|row| row.failures > 0) {
        let reason = row.failure.as_deref().unwrap_or_default();
        let _ = writeln!(io::stderr(), "{}: {} failed; the first: {reason}", row.name, row.failures);
        code = ExitCode::FAILURE;
    }
    code
}
