//! `bench`: what work costs a Personal Data Server.
//!
//! Without arguments it starts Rookery with a Postgres and Redis of its own, gives it the work of [`scenario`], and prints
//! a table with goals. `--url` measures any other server instead; `--reference` and `--compare-url` measure a second one in
//! turns with the first ([`compare`]).
//!
//! **CPU time per operation** is the figure that counts, since machines differ: the time of *all* processes of the
//! server ([`processes`]) within a window, divided by the operations completed in it ([`measure`]). The load generator
//! is one thread that sends requests made in advance over kept-alive connections; it shares the machine with the
//! server, but its own time is not counted. So rates and delays are those of a machine that does both.
//!
//! Figures never make the program fail, since machines are not equally fast from hour to hour. Wrong answers do: a
//! request that fails, an event that is missing or out of order makes the exit status 1.

mod arguments;
mod compare;
mod connection;
mod frame;
mod goal;
mod latency;
mod measure;
mod origin;
mod post;
mod processes;
mod progress;
mod reference;
mod report;
mod row;
mod scenario;
mod session;
mod stream;
mod target;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use arguments::Arguments;
use clap::Parser as _;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use progress::Progress;
use report::{Report, Server};
use session::Session;
use target::Target;
use tokio::signal::unix::{SignalKind, signal};

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
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut servers = Vec::new();
    let complete = tokio::select! {
        outcome = measure_all(arguments, &mut servers) => outcome.map(|()| true)?,
        // What is measured by then is reported. The servers we started are told to stop when they are dropped.
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
    };
    let report = Report::new(servers);
    write!(io::stdout(), "{}", report.text(arguments.has_goals()))?;
    if let Some(path) = &arguments.json {
        report.write(path)?;
    }
    let failures = report.failures();
    for failure in &failures {
        let _ = writeln!(io::stderr(), "{failure}");
    }
    Ok(if complete && failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the servers, measures every scenario on all of them, adds its rows to `servers`, and stops the servers.
async fn measure_all(arguments: &Arguments, servers: &mut Vec<Server>) -> Result<()> {
    let targets = targets(arguments).await?;
    let scenarios = arguments.scenarios(targets.len());
    let rounds = arguments.rounds(targets.len());
    let progress = Arc::new(Progress::new(scenarios.len() * targets.len() * rounds));
    let mut sessions = Vec::new();
    for target in targets {
        let invite_code = arguments.invite_code.clone();
        sessions.push(Session::open(target, invite_code, arguments.scale(), Arc::clone(&progress)).await?);
    }
    let names = sessions.iter().map(|session| session.target.name.clone());
    servers.extend(names.map(|name| Server { name, rows: Vec::new() }));
    for scenario in scenarios {
        let found = compare::alternate(scenario, &mut sessions, rounds).await?;
        servers.iter_mut().zip(found).for_each(|(server, rows)| server.rows.extend(rows));
    }
    progress.finish();
    for session in sessions {
        session.target.stop().await?;
    }
    Ok(())
}

async fn targets(arguments: &Arguments) -> Result<Vec<Target>> {
    let mut targets = vec![match &arguments.url {
        Some(url) => Target::elsewhere(url, &arguments.server_pid)?,
        None => Target::own(arguments.rate_limits).await?,
    }];
    if let Some(installed) = &arguments.reference {
        targets.push(Target::reference(installed).await?);
    }
    if let Some(url) = &arguments.compare_url {
        targets.push(Target::elsewhere(url, &arguments.compare_pid)?);
    }
    Ok(targets)
}
