//! `stack run`: the development stack, until a signal ends it.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use tests::stack::{Arrivals, DataFolder, Durability, Options, Settings, Stack};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::welcome;

/// What `stack run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder that keeps accounts and data between runs.
    #[arg(long, default_value = ".dev")]
    data: PathBuf,
    /// Use a new folder, and remove it in the end.
    #[arg(long, conflicts_with = "data")]
    temporary: bool,
    /// Replicas of the api; the second listens on the next port.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: u16,
    /// The port of the first replica; 0 takes free ports.
    #[arg(long, default_value_t = 2583)]
    port: u16,
    /// The address the api listens on.
    #[arg(long, env = "PDS_BIND", default_value = "127.0.0.1")]
    bind: String,
    /// Use this PLC directory instead of one of its own.
    #[arg(long)]
    plc_url: Option<String>,
    /// Limit requests, as a public server does.
    #[arg(long, env = "PDS_RATE_LIMITS_ENABLED")]
    rate_limits: bool,
    /// Print one line of JSON that says where everything is, instead of text for people.
    #[arg(long)]
    json: bool,
}

/// Runs the stack until SIGINT, SIGTERM or SIGHUP; a second signal does not wait for anything.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    // Before the first child, so that none inherits an ignored signal.
    let mut signals = StopSignals::listen()?;
    let mut stack = tokio::select! {
        stack = Stack::start(options(&arguments)?) => stack?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let endpoints = stack.endpoints();
    if arguments.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&endpoints)?)?;
    } else {
        writeln!(io::stdout(), "{}", welcome::text(&endpoints, stack.data()))?;
    }
    let mails = stack.mails();
    let outcome = tokio::select! {
        outcome = stack.keep_alive(notice) => outcome,
        () = show(mails), if !arguments.json => Ok(()),
        () = signals.next() => Ok(()),
    };
    tokio::select! {
        stopped = stack.stop() => stopped?,
        () = signals.next() => {}
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn options(arguments: &Arguments) -> Result<Options> {
    let (data, durability) = if arguments.temporary {
        (DataFolder::temporary()?, Durability::None)
    } else {
        (DataFolder::open(&arguments.data)?, Durability::Full)
    };
    let port = (arguments.port != 0).then_some(arguments.port);
    Ok(Options {
        data,
        replicas: arguments.replicas,
        port,
        bind: arguments.bind.clone(),
        durability,
        plc_url: arguments.plc_url.clone(),
        settings: Settings::from([("PDS_RATE_LIMITS_ENABLED".to_owned(), arguments.rate_limits.to_string())]),
    })
}

/// Shows what the server mails, for as long as there is a mail server.
async fn show(mut mails: Arrivals) {
    while let Some(mail) = mails.next().await {
        notice(&welcome::mail(&mail));
    }
}

/// Tells the developer something; if nobody listens any more, that is no reason to stop.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The signals that end a program.
struct StopSignals([Signal; 3]);

impl StopSignals {
    fn listen() -> Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let Self([interrupt, terminate, hangup]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
