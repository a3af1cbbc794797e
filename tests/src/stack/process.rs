//! Child processes that cannot outlive the program that started them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How often a starting server is asked whether it answers.
const PROBE_INTERVAL: Duration = Duration::from_millis(25);
/// How long one such question may take.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How many lines of a log an error message repeats.
const LOG_TAIL: usize = 20;

/// A command that is about to be started.
///
/// It runs in its own process group, so that Ctrl-C reaches only the launcher, which then stops everything in order. The
/// kernel sends it the stop signal should the launcher die without doing so (`PR_SET_PDEATHSIG`, through util-linux's
/// `setpriv`). The kernel watches the *thread* that spawns: spawn on a thread that lives as long as the child should.
#[derive(Debug)]
pub struct Launch {
    name: String,
    stop: Signal,
    command: Command,
}

impl Launch {
    /// Prepares `program`, called `name` in messages and ended by SIGTERM.
    pub fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        Self::prepare(name.into(), program.as_ref(), Signal::SIGTERM, None)
    }

    /// As [`Launch::new`], for a program that ends by `stop` and runs as `user`, or as the caller where that is `None`.
    pub(super) fn prepare(name: String, program: &OsStr, stop: Signal, user: Option<&User>) -> Self {
        let mut command = Command::new("setpriv");
        if let Some(user) = user {
            command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--init-groups");
        }
        // setpriv takes the name without its prefix; it sets the death signal after changing the user, which would clear it.
        command.arg("--pdeathsig").arg(stop.as_str().trim_start_matches("SIG")).arg("--").arg(program);
        command.process_group(0).stdin(Stdio::null());
        Self { name, stop, command }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds or replaces variables of the environment.
    #[must_use]
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, envs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.command.envs(envs);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// It cannot be started, or fails; the message holds what it wrote.
    pub async fn finish(self) -> Result<()> {
        self.read().await.map(drop)
    }

    /// Runs the command to its end and gives what it said.
    ///
    /// # Errors
    /// As [`Launch::finish`].
    pub async fn read(self) -> Result<String> {
        let name = self.name.clone();
        let output = self.output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{name} failed ({}): {}", output.status, said.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the command to its end, and gives what it wrote and how it ended.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn output(mut self) -> Result<Output> {
        self.command.output().await.with_context(|| format!("cannot start {}", self.name))
    }

    /// Starts the command with everything it writes appended to the file `log`.
    ///
    /// # Errors
    /// The log cannot be opened, or the command not started.
    pub fn spawn(mut self, log: &Path) -> Result<Server> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot open {}", log.display()))?;
        let child = self.command.stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("cannot start {}", self.name))?;
        Ok(Server { name: self.name, stop: self.stop, child, log: log.to_owned() })
    }
}

/// A running child. Dropping it sends the stop signal without waiting; [`Server::stop`] waits.
#[derive(Debug)]
pub struct Server {
    name: String,
    stop: Signal,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// What the server is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that takes what the server writes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process id; `None` once the process has ended and was waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until `answers` says yes.
    ///
    /// # Errors
    /// The process ends before, or does not answer within a minute; the message holds the end of its log.
    pub async fn until_ready(&mut self, answers: impl AsyncFn() -> bool) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !answers().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at start ({status}):\n{}", self.name, self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{} does not answer after {START_LIMIT:?}:\n{}", self.name, self.log_tail());
            }
            sleep(PROBE_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Asks the process to stop, waits for `grace`, then kills it.
    pub async fn stop(mut self, grace: Duration) -> Result<()> {
        self.signal(self.stop);
        if timeout(grace, self.child.wait()).await.is_err() {
            self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    /// Sends `signal`; nothing happens if the process has ended.
    pub fn signal(&self, signal: Signal) {
        // A pid is held until we have waited for it, so this cannot hit a stranger; ESRCH only means it just ended.
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The last lines the server wrote.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(self.stop);
    }
}

/// Whether the server on `port` of this machine answers `GET path` with status 200.
pub(super) async fn answers_http(port: u16, path: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("localhost", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await?;
        std::io::Result::Ok(status_line)
    };
    timeout(PROBE_LIMIT, ask).await.is_ok_and(|answer| answer.is_ok_and(|line| line.ends_with(b" 200")))
}
