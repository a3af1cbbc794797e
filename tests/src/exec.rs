//! `stack exec`: a command with empty servers of its own.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::stack::{Postgres, Redis};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// What `stack exec` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the command, and ends with its exit status.
pub(crate) async fn run(Arguments { command }: Arguments) -> Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("rookery-exec-").tempdir()?;
    let postgres = Postgres::temporary().await?;
    let redis = Redis::start(folder.path(), &folder.path().join("log")).await?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--"])
        .args(&command)
        .env("TEST_DATABASE_URL", postgres.url("postgres"))
        .env("TEST_REDIS_URL", redis.url())
        .spawn()
        .with_context(|| format!("cannot start {}", command[0].display()))?;
    let status = wait(&mut child).await;
    redis.stop().await?;
    postgres.stop().await?;
    Ok(exit_code(status?))
}

/// Waits for the command, which is in our process group: Ctrl-C has reached it already, other signals are passed on.
async fn wait(child: &mut Child) -> Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => pass_on(child, Signal::SIGTERM),
            _ = hangup.recv() => pass_on(child, Signal::SIGHUP),
        }
    }
}

fn pass_on(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It can only fail because the child just ended, which `wait` sees next.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The status as a shell would report it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
